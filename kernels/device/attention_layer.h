// Multi-head latent attention on the device, in its naive form (model/mla.h).
#pragma once

#include <cstdint>
#include <string>

#include "kernels/device/pass.h"
#include "kernels/plain/attention.h"
#include "kernels/plain/layers.h"

namespace lastbit::device {

class AttentionLayer {
 public:
  AttentionLayer(std::int64_t layer, const Pass& pass);

  // x, normed, and y [rows, d]. Allocates what backward() reads.
  void forward(const Array& x, const Array& y);
  void backward(const Array& dy, const Array& x, const Array& dx);

 private:
  void make_queries(const Array& x);
  void make_keys(const Array& x);
  void append_to_cache();
  void backward_queries(const Array& dq, const Array& dq_rope, const Array& x, const Array& dx);
  void backward_keys(const Array& dexpanded, const Array& dk_rope, const Array& x, const Array& dx);
  [[nodiscard]] kernels::LatentHeads heads() const;
  [[nodiscard]] kernels::TurnShape turn_shape(std::int64_t heads) const;

  std::int64_t layer_;
  const Pass& pass_;
  const model::ModelConfig& config_;
  std::string prefix_;
  std::int64_t rows_;
  std::int64_t keys_;  // rows of keys: more than rows_ with a cache

  Array q_compressed_;  // before its norm
  Array q_latent_;
  Array q_;
  Array q_rope_;
  Array compressed_;  // latent before its norm, then the key that all heads share, [rows, rank + rope]
  Array latent_;
  Array k_rope_;
  Array expanded_;
  Array out_;
  Array log_sum_exp_;
};

}  // namespace lastbit::device

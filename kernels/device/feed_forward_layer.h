// What follows attention in a block, on the device: a dense SwiGLU FFN or a mixture of experts (model/feed_forward.h,
// model/mixture.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device/pass.h"
#include "kernels/routing/routing.h"

namespace lastbit::device {

class FeedForwardLayer {
 public:
  FeedForwardLayer() = default;
  virtual ~FeedForwardLayer() = default;
  FeedForwardLayer(const FeedForwardLayer&) = delete;
  FeedForwardLayer& operator=(const FeedForwardLayer&) = delete;

  // x, normed, and y [rows, d]. Allocates what backward() reads.
  virtual void forward(const Array& x, const Array& y) = 0;
  virtual void backward(const Array& dy, const Array& x, const Array& dx) = 0;
};

// down(silu(gate(x)) * up(x)) of the weights PREFIX.gate_proj.weight and so on.
class SwigluLayer : public FeedForwardLayer {
 public:
  SwigluLayer(const Pass& pass, std::string prefix, std::int64_t width);

  void forward(const Array& x, const Array& y) override;
  void backward(const Array& dy, const Array& x, const Array& dx) override;

 private:
  const Pass& pass_;
  std::string prefix_;
  std::int64_t rows_;
  std::int64_t width_;
  Array gate_;
  Array up_;
  Array hidden_;
};

class MixtureLayer : public FeedForwardLayer {
 public:
  MixtureLayer(std::int64_t layer, const Pass& pass);

  void forward(const Array& x, const Array& y) override;
  void backward(const Array& dy, const Array& x, const Array& dx) override;

 private:
  void route(const Array& x);
  void run_experts(const Array& x, const Array& y);
  void backward_experts(const Array& drows, const Array& dx);
  [[nodiscard]] kernels::PermutationShape shape() const;

  std::int64_t layer_;
  const Pass& pass_;
  const model::ModelConfig& config_;
  std::string prefix_;
  std::int64_t place_among_mixtures_;
  std::int64_t rows_;
  std::int64_t slots_;
  kernels::RouterRule rule_;
  std::optional<SwigluLayer> shared_;

  Array logits_;
  Array topk_idx_;
  Array topk_weight_;
  Array offsets_;
  Array row_of_slot_;
  Array dispatched_;
  Array gate_;
  Array up_;
  Array hidden_;
  Array outputs_;
};

[[nodiscard]] std::unique_ptr<FeedForwardLayer> make_feed_forward_layer(std::int64_t layer, const Pass& pass);

// Layers with a mixture, those of MTP modules last: the rows of Pass::loads.
[[nodiscard]] std::vector<std::int64_t> mixture_layers(const model::ModelConfig& config, bool mtp);

}  // namespace lastbit::device

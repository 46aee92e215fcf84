// A head on the device: norm, logits, loss with its gradient (model/language_head.h), logits of all tokens at once.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/device/pass.h"

namespace lastbit::device {

class HeadLayer {
 public:
  // `gain`: the norm's weight.
  HeadLayer(const Pass& pass, std::string gain);

  // hidden [rows, d] must stay for backward_norm().
  void normalise(const Array& hidden);
  [[nodiscard]] const Array& normed() const { return normed_; }
  // logits [rows, vocabulary] FP32 of the tokens from row `first` on.
  void logits(std::int64_t first, std::int64_t rows, const Array& logits) const;

  // nll [1] FP64 = the sum over the place's targets. With gradients: those of `share` times the mean are in
  // normed_gradient(), and the output matrix's is added to.
  void loss(float share, const Array& nll);
  [[nodiscard]] const Array& normed_gradient() const { return dnormed_; }
  void backward_norm(const Array& dnormed, const Array& dhidden) const;

 private:
  const Pass& pass_;
  std::string gain_;
  std::string weight_;
  Array hidden_;
  Array normed_;
  Array dnormed_;
};

}  // namespace lastbit::device

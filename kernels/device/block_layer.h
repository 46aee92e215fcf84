// One transformer block on the device: h = x + attention(norm(x)), y = h + ffn(norm(h)) (model/block.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/device/attention_layer.h"
#include "kernels/device/feed_forward_layer.h"
#include "kernels/device/pass.h"

namespace lastbit::device {

class BlockLayer {
 public:
  BlockLayer(std::int64_t layer, const Pass& pass);

  // x, y [rows, d]; x must stay for backward(). Without Pass::keep everything but y is let go of.
  void forward(const Array& x, const Array& y);
  // dx from dy; dx may not be dy. Gradients of the block's weights are added to.
  void backward(const Array& dy, const Array& dx);

 private:
  void run(const Array& x, const Array& y);

  std::int64_t layer_;
  const Pass& pass_;
  std::string prefix_;
  std::int64_t d_;
  AttentionLayer attention_;
  std::unique_ptr<FeedForwardLayer> feed_forward_;
  Array x_;
  Array normed_x_;
  Array middle_;
  Array normed_middle_;
};

}  // namespace lastbit::device

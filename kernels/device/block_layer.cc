#include "kernels/device/block_layer.h"

#include <fmt/format.h>

#include "model/weight_specs.h"

namespace lastbit::device {

BlockLayer::BlockLayer(std::int64_t layer, const Pass& pass)
    : layer_(layer),
      pass_(pass),
      prefix_(model::layer_prefix(layer)),
      d_(pass.config.hidden_size),
      attention_(layer, pass),
      feed_forward_(make_feed_forward_layer(layer, pass)) {}

void BlockLayer::run(const Array& x, const Array& y) {
  const std::int64_t rows = pass_.place.rows();
  const double eps = pass_.config.rms_norm_eps;
  x_ = x;
  normed_x_ = pass_.room(prefix_ + "input_layernorm", rows, d_);
  middle_ = pass_.room(prefix_ + "middle", rows, d_);
  normed_middle_ = pass_.room(prefix_ + "post_attention_layernorm", rows, d_);
  // y holds what attention and the FFN give until the residual stream is added.
  norm(pass_, x, rows, d_, prefix_ + "input_layernorm.weight", eps, normed_x_, d_);
  attention_.forward(normed_x_, y);
  add(pass_, x, y, middle_);
  norm(pass_, middle_, rows, d_, prefix_ + "post_attention_layernorm.weight", eps, normed_middle_, d_);
  feed_forward_->forward(normed_middle_, y);
  add(pass_, middle_, y, y);
  pass_.tap(fmt::format("hidden.layer{}", layer_), y, {pass_.place.batch, pass_.place.tokens, d_});
}

void BlockLayer::forward(const Array& x, const Array& y) {
  if (pass_.keep) {
    run(x, y);
    return;
  }
  const Runtime::Scope scope(pass_.runtime);
  run(x, y);
}

void BlockLayer::backward(const Array& dy, const Array& dx) {
  const Runtime::Scope scope(pass_.runtime);
  const std::int64_t rows = pass_.place.rows();
  const double eps = pass_.config.rms_norm_eps;
  const Array dnormed = pass_.room("dnormed", rows, d_);
  const Array dmiddle = pass_.room("dmiddle", rows, d_);
  feed_forward_->backward(dy, normed_middle_, dnormed);
  norm_gradient(pass_, dnormed, middle_, rows, d_, prefix_ + "post_attention_layernorm.weight", eps, dmiddle);
  add(pass_, dy, dmiddle, dmiddle);
  attention_.backward(dmiddle, normed_x_, dnormed);
  norm_gradient(pass_, dnormed, x_, rows, d_, prefix_ + "input_layernorm.weight", eps, dx);
  add(pass_, dmiddle, dx, dx);
}

}  // namespace lastbit::device

#include "model/block.h"

#include <fmt/format.h>

#include "model/weight_specs.h"

namespace lastbit::model {

using tensor::Tensor;

BlockPass::BlockPass(std::int64_t layer, const PassContext& context)
    : layer_(layer),
      context_(context),
      attention_norm_(context, layer_prefix(layer) + "input_layernorm", context.config.rms_norm_eps),
      ffn_norm_(context, layer_prefix(layer) + "post_attention_layernorm", context.config.rms_norm_eps),
      attention_(make_attention_pass(layer, context)),
      ffn_(make_feed_forward_pass(layer, context)) {}

void BlockPass::tap(const char* name, const Tensor& tensor) const {
  context_.taps.record(fmt::format("{}.layer{}", name, layer_), tensor);
}

Tensor BlockPass::forward(const Tensor& x, const Tensor& ids) {
  const Tensor normed_x = attention_norm_.forward(x);
  tap("attn_norm", normed_x);
  const Tensor attended = attention_->forward(normed_x);
  tap("attn_out", attended);
  const Tensor middle = add_settled(x, attended, context_);
  tap("hidden_mid", middle);
  const Tensor normed_middle = ffn_norm_.forward(middle);
  tap("mlp_norm", normed_middle);
  const Tensor fed = ffn_->forward(normed_middle, ids);
  tap("mlp_out", fed);
  Tensor y = add_settled(middle, fed, context_);
  tap("hidden", y);
  if (!context_.keep) return y;
  x_ = x;
  middle_ = middle;
  if (!context_.recompute.norms) {
    normed_x_ = normed_x;
    normed_middle_ = normed_middle;
  }
  return y;
}

Tensor BlockPass::backward(const Tensor& dy) {
  tap("grad.hidden", dy);
  tap("grad.mlp_out", dy);  // a sum's gradient is that of both its terms
  if (context_.recompute.norms) normed_middle_ = ffn_norm_.forward(middle_);
  const Tensor dnormed_middle = ffn_->backward(dy, normed_middle_);
  ffn_.reset();
  normed_middle_ = {};
  tap("grad.mlp_norm", dnormed_middle);
  const Tensor dmiddle = add_settled(dy, ffn_norm_.backward(dnormed_middle, middle_), context_);
  tap("grad.hidden_mid", dmiddle);
  tap("grad.attn_out", dmiddle);
  if (context_.recompute.norms) normed_x_ = attention_norm_.forward(x_);
  const Tensor dnormed_x = attention_->backward(dmiddle, normed_x_);
  attention_.reset();
  normed_x_ = {};
  tap("grad.attn_norm", dnormed_x);
  return add_settled(dmiddle, attention_norm_.backward(dnormed_x, x_), context_);
}

}  // namespace lastbit::model

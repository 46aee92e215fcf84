#include "model/gqa.h"

#include <fmt/format.h>

#include <utility>

#include "model/weight_specs.h"
#include "ops/attention_core.h"
#include "ops/rope.h"

namespace lastbit::model {

using tensor::Tensor;

GqaPass::GqaPass(std::int64_t layer, const PassContext& context)
    : layer_(layer),
      context_(context),
      prefix_(layer_prefix(layer) + "self_attn."),
      q_proj_(context, prefix_ + "q_proj", context.numerics.projection),
      k_proj_(context, prefix_ + "k_proj", context.numerics.projection),
      v_proj_(context, prefix_ + "v_proj", context.numerics.projection),
      o_(context, prefix_ + "o_proj", context.numerics.attention_output) {}

// [B, S, count, head_dim] of x_.
Tensor GqaPass::heads(Projection& projection, std::int64_t count, bool rotated) const {
  Tensor y = projection.forward(x_);
  y = y.reshape({y.dim(0), y.dim(1), count, context_.config.head_dim});
  if (!rotated || context_.config.rotary_dim() == 0) return y;
  ops::apply_rope(y, context_.rope, ops::RopeLayout::kHalfSplit, 0, &context_.layout.positions);
  ops::settle(y, context_.numerics);
  return y;
}

// The gradient of x_ by way of one projection's heads.
Tensor GqaPass::back(Tensor gradient, Projection& projection, bool rotated) const {
  if (rotated && context_.config.rotary_dim() > 0)
    ops::apply_rope_backward(gradient, context_.rope, ops::RopeLayout::kHalfSplit, 0, &context_.layout.positions);
  ops::settle(gradient, context_.numerics);
  return projection.backward(gradient.reshape({gradient.dim(0), gradient.dim(1), gradient.dim(2) * gradient.dim(3)}),
                             x_);
}

tensor::Shape GqaPass::head_shape(const Tensor& x) const {
  return {x.dim(0), x.dim(1), context_.config.num_attention_heads, context_.config.head_dim};
}

Tensor GqaPass::forward(const Tensor& x) {
  const ModelConfig& c = context_.config;
  const auto tap = [&](const char* name, const Tensor& tensor) {
    context_.taps.record(fmt::format("{}.layer{}", name, layer_), tensor);
  };
  x_ = q_proj_.input(x);
  q_ = heads(q_proj_, c.num_attention_heads, true);
  k_ = heads(k_proj_, c.num_key_value_heads, true);
  v_ = heads(v_proj_, c.num_key_value_heads, false);
  tap("attn_q", q_);
  tap("attn_k", k_);
  tap("attn_v", v_);
  KeyValueCache::Entry all{k_, v_};
  if (context_.cache != nullptr) all = context_.cache->append(layer_, all);
  ops::AttentionResult result = ops::attention_core(q_, all.first, all.second, softmax_scale(c), context_.layout.mask(),
                                                    {context_.numerics.bf16_attention_weights});
  ops::settle(result.out, context_.numerics);
  tap("attn_heads", result.out);
  out_ = o_.input(result.out.reshape({x.dim(0), x.dim(1), c.num_attention_heads * c.head_dim}));
  Tensor y = o_.forward(out_);
  if (!context_.keep) return y;
  out_.end_fprop();
  log_sum_exp_ = result.log_sum_exp;
  if (context_.recompute.norms) x_ = {};
  return y;
}

Tensor GqaPass::backward(const Tensor& dy, const Tensor& x) {
  const auto name = [&](const char* what) { return fmt::format("grad.{}.layer{}", what, layer_); };
  if (x_.empty()) x_ = q_proj_.input(x);
  const Tensor dout = o_.backward(dy, out_).reshape(head_shape(dy));
  context_.taps.record(name("attn_heads"), dout);
  const ops::AttentionGrads grads = ops::attention_core_backward(
      dout, q_, k_, v_, {out_.values().reshape(head_shape(dy)), log_sum_exp_}, softmax_scale(context_.config),
      context_.layout.mask(), {context_.numerics.bf16_attention_weights});
  context_.taps.record_copy(name("attn_q"), grads.dq);  // turned back in place
  context_.taps.record_copy(name("attn_k"), grads.dk);
  context_.taps.record(name("attn_v"), grads.dv);
  const Tensor dx = add_settled(back(grads.dq, q_proj_, true), back(grads.dk, k_proj_, true), context_);
  return add_settled(dx, back(grads.dv, v_proj_, false), context_);
}

}  // namespace lastbit::model

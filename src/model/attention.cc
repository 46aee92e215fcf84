#include "model/attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "model/weight_specs.h"
#include "ops/attention_core.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

// The projections of one layer by their short names.
class Projections {
 public:
  Projections(std::int64_t layer, const ForwardContext& context)
      : prefix_(layer_prefix(layer) + "self_attn."), context_(context) {}

  [[nodiscard]] Tensor apply(const std::string& name, const Tensor& x) const {
    return ops::linear(x, context_.weights.get(prefix_ + name + ".weight"), context_.numerics,
                       context_.weights.find(prefix_ + name + ".bias"));
  }
  [[nodiscard]] Tensor latent_norm(const std::string& name, const Tensor& x) const {
    return ops::rms_norm(x, context_.weights.get(prefix_ + name + ".weight"), context_.config.latent_norm_eps);
  }

 private:
  std::string prefix_;
  const ForwardContext& context_;
};

ops::RopeLayout mla_rope_layout(const ModelConfig& config) {
  if (config.model_type == "deepseek_v2") return ops::RopeLayout::kInterleaved;
  return config.rope_interleave ? ops::RopeLayout::kInterleavedToHalves : ops::RopeLayout::kHalfSplit;
}

struct KeysValues {
  Tensor keys;    // [B, S, heads, nope + rope]
  Tensor values;  // [B, S, heads, v]
};

// expanded [B, S, heads, nope + v], k_rope [B, S, rope]: each head's key is its own part beside the shared rotary one.
KeysValues assemble(const Tensor& expanded, const Tensor& k_rope, const ModelConfig& c) {
  const std::int64_t batch = expanded.dim(0);
  const std::int64_t tokens = expanded.dim(1);
  const std::int64_t heads = c.num_attention_heads;
  KeysValues result{Tensor::empty(tensor::DType::kF32, {batch, tokens, heads, c.qk_head_dim()}),
                    Tensor::empty(tensor::DType::kF32, {batch, tokens, heads, c.v_head_dim})};
  float* key = result.keys.mutable_values<float>().data();
  float* value = result.values.mutable_values<float>().data();
  const float* source = expanded.values<float>().data();
  const float* rotary = k_rope.values<float>().data();
  for (std::int64_t i = 0; i < batch * tokens * heads; ++i) {
    key = std::copy_n(source, c.qk_nope_head_dim, key);
    key = std::copy_n(rotary + i / heads * c.qk_rope_head_dim, c.qk_rope_head_dim, key);
    value = std::copy_n(source + c.qk_nope_head_dim, c.v_head_dim, value);
    source += c.qk_nope_head_dim + c.v_head_dim;
  }
  return result;
}

Tensor mla(const Tensor& x, std::int64_t layer, const ForwardContext& context) {
  const ModelConfig& c = context.config;
  const Projections project(layer, context);
  const std::int64_t batch = x.dim(0);
  const std::int64_t tokens = x.dim(1);
  const std::int64_t heads = c.num_attention_heads;
  const ops::RopeLayout layout = mla_rope_layout(c);

  Tensor q = c.q_lora_rank > 0
                 ? project.apply("q_b_proj", project.latent_norm("q_a_layernorm", project.apply("q_a_proj", x)))
                 : project.apply("q_proj", x);
  ops::apply_rope(q.mutable_values<float>().data() + c.qk_nope_head_dim, batch * tokens * heads, c.qk_head_dim(), heads,
                  context.rope, layout);

  const Tensor compressed = project.apply("kv_a_proj_with_mqa", x);
  const std::int64_t width = c.kv_lora_rank + c.qk_rope_head_dim;
  const Tensor c_kv = project.latent_norm("kv_a_layernorm", compressed.slice(-1, 0, c.kv_lora_rank).contiguous());
  Tensor k_rope = compressed.slice(-1, c.kv_lora_rank, width).clone();
  ops::apply_rope(k_rope.mutable_values<float>().data(), batch * tokens, c.qk_rope_head_dim, 1, context.rope, layout);
  context.taps.record(fmt::format("cache.c_kv.layer{}", layer), c_kv);
  context.taps.record(fmt::format("cache.k_rope.layer{}", layer), k_rope);

  const KeysValues kv = assemble(project.apply("kv_b_proj", c_kv), k_rope, c);
  const Tensor heads_out = ops::attention_core(q.reshape({batch, tokens, heads, c.qk_head_dim()}), kv.keys, kv.values,
                                               softmax_scale(c), context.numerics);
  return project.apply("o_proj", heads_out.reshape({batch, tokens, heads * c.v_head_dim}));
}

Tensor gqa(const Tensor& x, std::int64_t layer, const ForwardContext& context) {
  const ModelConfig& c = context.config;
  const Projections project(layer, context);
  const std::int64_t batch = x.dim(0);
  const std::int64_t tokens = x.dim(1);
  const std::int64_t heads = c.num_attention_heads;
  const std::int64_t kv_heads = c.num_key_value_heads;
  Tensor q = project.apply("q_proj", x);
  Tensor k = project.apply("k_proj", x);
  const Tensor v = project.apply("v_proj", x);
  ops::apply_rope(q.mutable_values<float>().data(), batch * tokens * heads, c.head_dim, heads, context.rope,
                  ops::RopeLayout::kHalfSplit);
  ops::apply_rope(k.mutable_values<float>().data(), batch * tokens * kv_heads, c.head_dim, kv_heads, context.rope,
                  ops::RopeLayout::kHalfSplit);
  const Tensor heads_out = ops::attention_core(
      q.reshape({batch, tokens, heads, c.head_dim}), k.reshape({batch, tokens, kv_heads, c.head_dim}),
      v.reshape({batch, tokens, kv_heads, c.head_dim}), softmax_scale(c), context.numerics);
  return project.apply("o_proj", heads_out.reshape({batch, tokens, heads * c.head_dim}));
}

}  // namespace

ops::RopeParameters rope_parameters(const ModelConfig& config) {
  ops::RopeParameters parameters;
  parameters.dim = config.attention == AttentionKind::kMla ? config.qk_rope_head_dim : config.head_dim;
  parameters.theta = config.rope_theta;
  if (const auto& yarn = config.rope_scaling)
    parameters.yarn = ops::YarnParameters{yarn->factor,    static_cast<double>(yarn->original_max_position_embeddings),
                                          yarn->beta_fast, yarn->beta_slow,
                                          yarn->mscale,    yarn->mscale_all_dim};
  return parameters;
}

double softmax_scale(const ModelConfig& config) {
  const double scale = 1 / std::sqrt(static_cast<double>(config.qk_head_dim()));
  if (!config.rope_scaling || config.attention != AttentionKind::kMla) return scale;
  const double mscale = ops::yarn_mscale(config.rope_scaling->factor, config.rope_scaling->mscale_all_dim);
  return scale * mscale * mscale;
}

Tensor attention(const Tensor& x, std::int64_t layer, const ForwardContext& context) {
  return context.config.attention == AttentionKind::kMla ? mla(x, layer, context) : gqa(x, layer, context);
}

}  // namespace lastbit::model

// The attention layers: multi-head latent attention (arXiv 2405.04434, section 2.1) and grouped-query attention.
#pragma once

#include <cstdint>
#include <memory>

#include "model/config.h"
#include "model/pass_context.h"
#include "ops/rope.h"
#include "tensor/tensor.h"

namespace lastbit::model {

[[nodiscard]] ops::RopeParameters rope_parameters(const ModelConfig& config);

// 1 / sqrt(qk_head_dim), under YaRN times m(mscale_all_dim)^2: always, or as YarnMscale says.
[[nodiscard]] double softmax_scale(const ModelConfig& config);

// One layer in one pass: forward once, then, if the context keeps, backward once.
class AttentionPass {
 public:
  AttentionPass() = default;
  virtual ~AttentionPass() = default;
  AttentionPass(const AttentionPass&) = delete;
  AttentionPass& operator=(const AttentionPass&) = delete;

  // x [B, S, d], normed -> [B, S, d], before the residual is added.
  [[nodiscard]] virtual tensor::Tensor forward(const tensor::Tensor& x) = 0;
  // dy [B, S, d] -> dx; weights' gradients are added. x as in forward(): read only where the context recomputes norms.
  [[nodiscard]] virtual tensor::Tensor backward(const tensor::Tensor& dy, const tensor::Tensor& x) = 0;
};

// Taps attn_q, attn_k, attn_v.layerN [B, S, heads, dim] (after rotation; MLA's naive form), attn_heads.layerN
// [B, S, heads, v_dim], for MLA cache.c_kv.layerN [B, S, kv_lora_rank] and cache.k_rope.layerN [B, S,
// qk_rope_head_dim], and the gradients of the first four under "grad.".
[[nodiscard]] std::unique_ptr<AttentionPass> make_attention_pass(std::int64_t layer, const PassContext& context);

}  // namespace lastbit::model

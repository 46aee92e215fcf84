// The attention layers: multi-head latent attention (arXiv 2405.04434, section 2.1) and grouped-query attention.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/forward_context.h"
#include "ops/rope.h"
#include "tensor/tensor.h"

namespace lastbit::model {

[[nodiscard]] ops::RopeParameters rope_parameters(const ModelConfig& config);

// 1 / sqrt(qk_head_dim), under YaRN times m(mscale_all_dim)^2.
[[nodiscard]] double softmax_scale(const ModelConfig& config);

// x [B, S, d], normed -> [B, S, d], before the residual is added. MLA in its naive form (keys and values expanded);
// taps cache.c_kv.layerN [B, S, kv_lora_rank] and cache.k_rope.layerN [B, S, qk_rope_head_dim].
[[nodiscard]] tensor::Tensor attention(const tensor::Tensor& x, std::int64_t layer, const ForwardContext& context);

}  // namespace lastbit::model

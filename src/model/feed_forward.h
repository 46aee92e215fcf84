// The feed-forward layers: dense SwiGLU, and mixtures of experts with any of the routers that the configuration names.
#pragma once

#include <cstdint>

#include "model/forward_context.h"
#include "ops/router.h"
#include "tensor/tensor.h"

namespace lastbit::model {

[[nodiscard]] ops::RouterRule router_rule(const ModelConfig& config);

// x [B, S, d], normed -> [B, S, d], before the residual is added. MoE layers tap router.logits.layerN [B S, experts],
// router.topk_idx.layerN and router.topk_weight.layerN [B S, top_k].
// Errors: router logits that are not finite are bad input: the checkpoint overflows FP32.
[[nodiscard]] tensor::Tensor feed_forward(const tensor::Tensor& x, std::int64_t layer, const ForwardContext& context);

}  // namespace lastbit::model

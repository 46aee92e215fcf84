// The feed-forward layers: dense SwiGLU, and mixtures of experts with any of the routers that the configuration names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/pass_context.h"
#include "model/projection.h"
#include "ops/permutation.h"
#include "ops/router.h"
#include "tensor/tensor.h"

namespace lastbit::model {

// What the config says of its router.
[[nodiscard]] ops::RouterRule router_rule(const ModelConfig& config);

// down(silu(gate x) * up x) of the weights "PREFIX.gate_proj" and so on, in one pass.
class SwigluFfn {
 public:
  SwigluFfn(const PassContext& context, const std::string& prefix);

  [[nodiscard]] tensor::Tensor forward(const tensor::Tensor& x);
  // x: as in forward(), read only where the context recomputes norms.
  [[nodiscard]] tensor::Tensor backward(const tensor::Tensor& dy, const tensor::Tensor& x);

 private:
  const PassContext& context_;
  Projection gate_proj_;
  Projection up_proj_;
  Projection down_proj_;
  ops::LinearInput x_;
  tensor::Tensor gate_;
  tensor::Tensor up_;
  ops::LinearInput hidden_;
};

// One layer in one pass: forward once, then, if the context keeps, backward once. x [B, S, d], normed -> [B, S, d],
// before the residual is added. MoE layers tap router.logits.layerN [B S, experts] (but for a hash router),
// router.topk_idx.layerN, router.topk_weight.layerN [B S, top_k] (unused slots -1 and 0, last), router.dropped.layerN
// [1] i64, the (token, expert) pairs beyond a capacity, and aux_loss.layerN [1], the sum of the config's losses.
// Errors: router logits that are not finite are bad input: the checkpoint overflows.
class FeedForwardPass {
 public:
  FeedForwardPass() = default;
  virtual ~FeedForwardPass() = default;
  FeedForwardPass(const FeedForwardPass&) = delete;
  FeedForwardPass& operator=(const FeedForwardPass&) = delete;

  // ids [B, S]: what hash routers look at.
  [[nodiscard]] virtual tensor::Tensor forward(const tensor::Tensor& x, const tensor::Tensor& ids) = 0;
  [[nodiscard]] virtual tensor::Tensor backward(const tensor::Tensor& dy, const tensor::Tensor& x) = 0;
};

[[nodiscard]] std::unique_ptr<FeedForwardPass> make_feed_forward_pass(std::int64_t layer, const PassContext& context);

}  // namespace lastbit::model

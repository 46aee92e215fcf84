#include "model/feed_forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "model/weight_specs.h"
#include "ops/linear.h"
#include "ops/moe.h"
#include "ops/swiglu.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

ops::SwigluWeights ffn_weights(const Weights& weights, const std::string& prefix) {
  return {weights.get(prefix + ".gate_proj.weight"), weights.get(prefix + ".up_proj.weight"),
          weights.get(prefix + ".down_proj.weight")};
}

ops::GroupRank group_rank(TopkMethod method) {
  switch (method) {
    case TopkMethod::kGreedy:
      return ops::GroupRank::kNone;
    case TopkMethod::kGroupLimitedGreedy:
      return ops::GroupRank::kMax;
    case TopkMethod::kNoauxTc:
      break;
  }
  return ops::GroupRank::kTopTwo;
}

Tensor mixture(const Tensor& tokens, std::int64_t layer, const ForwardContext& context) {
  const ModelConfig& c = context.config;
  const Weights& weights = context.weights;
  const std::string prefix = layer_prefix(layer) + "mlp.";
  const Tensor logits = ops::linear(tokens, weights.get(prefix + "gate.weight"), context.numerics);
  const auto values = logits.values<float>();
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
    core::fail_input("layer {}: a router logit is not finite: with these weights the activations overflow FP32", layer);
  const ops::Routing routing =
      ops::route(logits, weights.find(prefix + "gate.e_score_correction_bias"), router_rule(c));
  context.taps.record(fmt::format("router.logits.layer{}", layer), logits);
  context.taps.record(fmt::format("router.topk_idx.layer{}", layer), routing.experts);
  context.taps.record(fmt::format("router.topk_weight.layer{}", layer), routing.weights);

  std::vector<ops::SwigluWeights> experts;
  for (std::int64_t e = 0; e < c.n_routed_experts; ++e)
    experts.push_back(ffn_weights(weights, fmt::format("{}experts.{}", prefix, e)));
  Tensor routed = ops::routed_experts(tokens, routing, experts, context.numerics);
  if (c.n_shared_experts == 0) return routed;
  const ops::SwigluWeights shared = ffn_weights(weights, prefix + "shared_experts");
  return ops::add(routed, ops::swiglu_ffn(tokens, shared, context.numerics));
}

}  // namespace

ops::RouterRule router_rule(const ModelConfig& config) {
  ops::RouterRule rule;
  rule.affinity = config.scoring_func == ScoringFunc::kSigmoid ? ops::Affinity::kSigmoid : ops::Affinity::kSoftmax;
  rule.group_rank = group_rank(config.topk_method);
  rule.groups = config.n_group;
  rule.kept_groups = config.topk_group;
  rule.top_k = config.num_experts_per_tok;
  rule.normalise = config.norm_topk_prob;
  rule.scale = config.routed_scaling_factor;
  return rule;
}

Tensor feed_forward(const Tensor& x, std::int64_t layer, const ForwardContext& context) {
  if (!context.config.is_moe_layer(layer))
    return ops::swiglu_ffn(x, ffn_weights(context.weights, layer_prefix(layer) + "mlp"), context.numerics);
  const std::int64_t d = context.config.hidden_size;
  return mixture(x.reshape({x.size() / d, d}), layer, context).reshape(x.shape());
}

}  // namespace lastbit::model

#include "model/mixture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "model/balance_loss.h"
#include "model/weight_specs.h"
#include "ops/add.h"
#include "ops/element_type.h"
#include "ops/load_metrics.h"
#include "ops/swiglu.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

ops::GroupRank group_rank(const ModelConfig& config) {
  switch (config.topk_method) {
    case TopkMethod::kGreedy:
      return ops::GroupRank::kNone;
    case TopkMethod::kGroupLimitedGreedy:
      return ops::GroupRank::kMax;
    case TopkMethod::kNoauxTc:
      break;
  }
  return config.router_options.group_sum == GroupSum::kTopTwo ? ops::GroupRank::kTopTwo : ops::GroupRank::kTopShare;
}

ops::Selection selection(RouterKind router) {
  if (router == RouterKind::kHash) return ops::Selection::kHash;
  return router == RouterKind::kTopP ? ops::Selection::kTopP : ops::Selection::kTopK;
}

ops::Affinity affinity(const ModelConfig& config) {
  if (config.scoring_func == ScoringFunc::kSoftmax) return ops::Affinity::kSoftmax;
  return config.router == RouterKind::kTopP ? ops::Affinity::kNormalisedSigmoid : ops::Affinity::kSigmoid;
}

void check_finite(const Tensor& logits, std::int64_t layer) {
  const bool finite = ops::with_element_type(logits.dtype(), "router: FP32 or FP64", [&](auto type) {
    const auto values = logits.values<decltype(type)>();
    return std::all_of(values.begin(), values.end(), [](auto x) { return std::isfinite(x); });
  });
  if (!finite)
    core::fail_input("layer {}: a router logit is not finite: with these weights the activations overflow", layer);
}

// E4M3, one FP32 scale a 1 x 128 tile: training.md section 3, after the DeepSeek-V3 report, section 3.5.2.
numerics::Quantized to_cache(const Tensor& x, const std::string& what) {
  return numerics::quantize({x.values<float>(), x.dim(0), x.dim(1)}, {}, what);
}

Tensor from_cache(const numerics::Quantized& codes) {
  const std::vector<float> values = numerics::dequantize(codes);
  return Tensor::from<float>({codes.rows, codes.cols}, values);
}

}  // namespace

ops::RouterRule router_rule(const ModelConfig& config) {
  const RouterOptions& options = config.router_options;
  ops::RouterRule rule;
  rule.affinity = affinity(config);
  rule.group_rank = group_rank(config);
  rule.groups = config.n_group;
  rule.kept_groups = config.topk_group;
  rule.masked_at_zero = options.masked_at_zero;
  rule.top_k = config.num_experts_per_tok;
  rule.shared_logits = options.shared_logits ? config.n_shared_experts : 0;
  rule.normalise = config.norm_topk_prob;
  rule.scale = config.routed_scaling_factor;
  rule.selection = selection(config.router);
  rule.top_p = options.top_p;
  rule.random_second = options.random_second;
  rule.capacity_factor = options.capacity_factor;
  rule.device_capacity_factor = options.device_capacity_factor;
  rule.devices = options.devices;
  rule.protected_share = options.protected_share;
  return rule;
}

MixturePass::MixturePass(std::int64_t layer, const PassContext& context)
    : layer_(layer),
      context_(context),
      prefix_(layer_prefix(layer) + "mlp."),
      rule_(router_rule(context.config)),
      router_(context, prefix_ + "gate", context.numerics.router),
      gate_proj_(context, prefix_ + "experts", "gate_proj", context.numerics.expert_in),
      up_proj_(context, prefix_ + "experts", "up_proj", context.numerics.expert_in),
      down_proj_(context, prefix_ + "experts", "down_proj", context.numerics.expert_down) {
  if (context.config.n_shared_experts > 0) shared_.emplace(context, prefix_ + "shared_experts");
  if (!context.randomness) rule_.random_second = false;
  if (context.cache != nullptr) rule_.capacity_factor = rule_.device_capacity_factor = 0;  // pieces have no fair share
}

// Where the pass's tokens stand among the random numbers.
ops::RouteContext MixturePass::place() const {
  const Randomness randomness = context_.randomness.value_or(Randomness{});
  ops::RouteContext place;
  place.seed = rule_.selection == ops::Selection::kHash
                   ? static_cast<std::uint64_t>(context_.config.router_options.hash_seed)
                   : randomness.seed;
  place.layer = static_cast<std::uint32_t>(layer_);
  place.step = randomness.step;
  place.tokens_a_sequence = context_.layout.tokens;
  return place;
}

// What the router reads while training a Switch; the same call turns gradients back.
Tensor MixturePass::jittered(const Tensor& x) const {
  const double epsilon = context_.config.router_options.jitter;
  return epsilon > 0 && context_.randomness ? ops::jitter(x, epsilon, place()) : x;
}

// Router logits; not settled: affinities are FP32. A hash has none: zeros lend their shape.
Tensor MixturePass::score(const Tensor& x) {
  if (rule_.selection == ops::Selection::kHash)
    return Tensor::zeros(x.dtype(), {x.dim(0), context_.config.n_routed_experts});
  router_input_ = router_.input(jittered(x));
  Tensor logits = ops::linear(router_input_, context_.weights.get(prefix_ + "gate.weight"), context_.numerics.router,
                              context_.site(prefix_ + "gate"));
  check_finite(logits, layer_);
  return logits;
}

void MixturePass::route(const Tensor& x, const Tensor& ids) {
  const auto tap = [&](const char* name, const Tensor& tensor) {
    context_.taps.record(fmt::format("router.{}.layer{}", name, layer_), tensor);
  };
  logits_ = score(x);
  ops::RouteContext at = place();
  at.token_ids = &ids;
  routing_ = ops::route(logits_, context_.weights.find(prefix_ + "gate.e_score_correction_bias"), rule_, at);
  permutation_ = ops::expert_permutation(routing_.experts, context_.config.n_routed_experts);
  tap("logits", logits_);
  tap("topk_idx", routing_.experts);
  tap("topk_weight", routing_.weights);
  tap("dropped", Tensor::from<std::int64_t>({1}, std::span(&routing_.dropped, 1)));
}

// The auxiliary losses, where somebody wants them, and the layer's entry in the log.
void MixturePass::balance() {
  const std::string tap = fmt::format("aux_loss.layer{}", layer_);
  AuxiliaryLoss auxiliary;
  if (context_.balance_loss || context_.taps.wants(tap))
    auxiliary = auxiliary_loss(context_.config, logits_, routing_, context_.layout.tokens);
  if (context_.taps.wants(tap)) {
    const auto loss = static_cast<float>(auxiliary.loss);
    context_.taps.record(tap, Tensor::from<float>({1}, std::span(&loss, 1)));
  }
  if (context_.keep && context_.balance_loss) dbalance_ = auxiliary.dlogits;
  if (context_.routing == nullptr) return;
  const ModelConfig& config = context_.config;
  context_.routing->push_back({layer_,
                               ops::load_metrics(routing_, config.n_routed_experts, config.router_options.devices),
                               context_.balance_loss ? auxiliary.loss : 0});
}

void MixturePass::keep_gate_and_up(Tensor gate, Tensor up) {
  if (!context_.numerics.fp8_swiglu_cache) {
    gate_ = std::move(gate);
    up_ = std::move(up);
    return;
  }
  gate_codes_ = to_cache(gate, prefix_ + "experts.gate_proj: its result");
  up_codes_ = to_cache(up, prefix_ + "experts.up_proj: its result");
}

Tensor MixturePass::run_experts(const Tensor& x) {
  rows_ = gate_proj_.input(ops::dispatch(x, permutation_), permutation_.offsets);
  Tensor gate = gate_proj_.forward(rows_);
  Tensor up = up_proj_.forward(rows_);
  if (!context_.numerics.expert_in.tensor_core) rows_ = {};
  Tensor hidden = ops::swiglu(gate, up);
  ops::settle(hidden, context_.numerics);
  if (context_.keep) keep_gate_and_up(std::move(gate), std::move(up));
  hidden_ = down_proj_.input(std::move(hidden), permutation_.offsets);
  outputs_ = down_proj_.forward(hidden_);
  if (context_.recompute.swiglu || context_.numerics.fp8_swiglu_cache) hidden_ = {};
  Tensor y = ops::combine(outputs_, routing_.weights, permutation_);
  ops::settle(y, context_.numerics);
  return y;
}

Tensor MixturePass::forward(const Tensor& x, const Tensor& ids) {
  const Tensor rows = token_rows(x);
  route(rows, ids);
  Tensor y = run_experts(rows);
  if (shared_) y = add_settled(y, shared_->forward(rows), context_);
  balance();
  if (context_.recompute.norms) router_input_ = {};
  return y.reshape(x.shape());
}

// silu(gate) * up of what was kept.
Tensor MixturePass::hidden_of_kept() const {
  Tensor hidden = ops::swiglu(gate_, up_);
  ops::settle(hidden, context_.numerics);
  return hidden;
}

Tensor MixturePass::backward_experts(const Tensor& dy, const Tensor& x) {
  if (context_.numerics.fp8_swiglu_cache) {
    gate_ = from_cache(gate_codes_);
    up_ = from_cache(up_codes_);
  }
  if (hidden_.empty()) hidden_ = down_proj_.input(hidden_of_kept(), permutation_.offsets);
  const Tensor dhidden = down_proj_.backward(dy, hidden_);
  ops::SwigluGradients grads = ops::swiglu_backward(dhidden, gate_, up_);
  ops::settle(grads.dgate, context_.numerics);
  ops::settle(grads.dup, context_.numerics);
  if (rows_.empty()) rows_ = gate_proj_.input(ops::dispatch(x, permutation_), permutation_.offsets);
  const Tensor drows =
      add_settled(gate_proj_.backward(grads.dgate, rows_), up_proj_.backward(grads.dup, rows_), context_);
  Tensor dx = ops::dispatch_backward(drows, permutation_);
  ops::settle(dx, context_.numerics);
  return dx;
}

Tensor MixturePass::backward_router(const Tensor& dweights) {
  Tensor dlogits = ops::route_backward(dweights, logits_, routing_, rule_);
  if (dbalance_.size() > 0) ops::accumulate(dlogits, dbalance_);
  context_.taps.record(fmt::format("grad.router.logits.layer{}", layer_), dlogits);
  Tensor dx = jittered(router_.backward(dlogits, router_input_));
  if (context_.config.router_options.jitter > 0) ops::settle(dx, context_.numerics);
  return dx;
}

Tensor MixturePass::backward(const Tensor& dy, const Tensor& x) {
  const Tensor rows = token_rows(x);
  const Tensor drows = token_rows(dy);
  ops::CombineGradients combined = ops::combine_backward(drows, outputs_, routing_.weights, permutation_);
  ops::settle(combined.doutputs, context_.numerics);
  Tensor dx = backward_experts(combined.doutputs, rows);
  if (rule_.selection != ops::Selection::kHash) {
    if (router_input_.empty()) router_input_ = router_.input(jittered(rows));
    dx = add_settled(dx, backward_router(combined.dweights), context_);
  }
  if (shared_) dx = add_settled(dx, shared_->backward(drows, rows), context_);
  return dx.reshape(dy.shape());
}

}  // namespace lastbit::model

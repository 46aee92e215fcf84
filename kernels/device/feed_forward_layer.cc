#include "kernels/device/feed_forward_layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/device/narrow.h"
#include "kernels/layers/layer_gradients.h"
#include "kernels/plain/finite.h"
#include "kernels/plain/layers.h"
#include "kernels/plain/mixture.h"
#include "kernels/routing/routing_gradients.h"
#include "model/weight_specs.h"

namespace lastbit::device {
namespace {

using kernels::Version;

std::size_t elements(const Array& array) { return static_cast<std::size_t>(array.count); }

void run_swiglu(const Pass& pass, const Array& gate, const Array& up, const Array& y) {
  pass.runtime.run([&] { kernels::swiglu_values(gate.values(), up.values(), elements(y), y.values()); });
}

// The gradients of gate and up.
struct GatePair {
  Array gate;
  Array up;
};
GatePair swiglu_backward(const Pass& pass, const Array& dhidden, const Array& gate, const Array& up) {
  const GatePair grads{pass.room("dgate", 1, gate.count), pass.room("dup", 1, up.count)};
  const int count = narrow(gate.count);
  pass.runtime.run([&] {
    with_type(gate.element, [&](auto type) {
      using T = decltype(type);
      kernels::swiglu_backward(dhidden.as<T>(), gate.as<T>(), up.as<T>(), count, grads.gate.as<T>(), grads.up.as<T>(),
                               Version::kTuned);
    });
  });
  return grads;
}

// DeepSeek-V3's router; support.cc refuses others.
kernels::RouterRule router_rule_of(const model::ModelConfig& config) {
  return {narrow(config.n_routed_experts),
          narrow(config.n_group),
          narrow(config.topk_group),
          narrow(config.num_experts_per_tok),
          false,
          config.norm_topk_prob,
          static_cast<float>(config.routed_scaling_factor)};
}

}  // namespace

SwigluLayer::SwigluLayer(const Pass& pass, std::string prefix, std::int64_t width)
    : pass_(pass), prefix_(std::move(prefix)), rows_(pass.place.rows()), width_(width) {}

void SwigluLayer::forward(const Array& x, const Array& y) {
  gate_ = pass_.room(prefix_ + ".gate", rows_, width_);
  up_ = pass_.room(prefix_ + ".up", rows_, width_);
  hidden_ = pass_.room(prefix_ + ".hidden", rows_, width_);
  linear(pass_, x, rows_, prefix_ + ".gate_proj.weight", gate_);
  linear(pass_, x, rows_, prefix_ + ".up_proj.weight", up_);
  run_swiglu(pass_, gate_, up_, hidden_);
  linear(pass_, hidden_, rows_, prefix_ + ".down_proj.weight", y);
}

void SwigluLayer::backward(const Array& dy, const Array& x, const Array& dx) {
  const Runtime::Scope scope(pass_.runtime);
  const Array dhidden = pass_.room("dhidden", rows_, width_);
  linear_gradient(pass_, dy, hidden_, rows_, prefix_ + ".down_proj.weight", dhidden);
  const GatePair grads = swiglu_backward(pass_, dhidden, gate_, up_);
  linear_gradient(pass_, grads.gate, x, rows_, prefix_ + ".gate_proj.weight", dx);
  linear_gradient(pass_, grads.up, x, rows_, prefix_ + ".up_proj.weight", dx, true);
}

MixtureLayer::MixtureLayer(std::int64_t layer, const Pass& pass)
    : layer_(layer),
      pass_(pass),
      config_(pass.config),
      prefix_(model::layer_prefix(layer) + "mlp."),
      rows_(pass.place.rows()),
      slots_(rows_ * pass.config.num_experts_per_tok),
      rule_(router_rule_of(pass.config)) {
  const std::vector<std::int64_t> layers = mixture_layers(config_, true);
  place_among_mixtures_ = std::ranges::find(layers, layer) - layers.begin();
  if (config_.n_shared_experts > 0)
    shared_.emplace(pass, prefix_ + "shared_experts", config_.n_shared_experts * config_.moe_intermediate_size);
}

kernels::PermutationShape MixtureLayer::shape() const {
  return {narrow(rows_), narrow(config_.hidden_size), rule_.experts, rule_.top_k};
}

void MixtureLayer::route(const Array& x) {
  Runtime& runtime = pass_.runtime;
  logits_ = runtime.allocate(prefix_ + "logits", Element::kF32, rows_ * rule_.experts);
  topk_idx_ = runtime.allocate(prefix_ + "topk_idx", Element::kI64, slots_);
  topk_weight_ = runtime.allocate(prefix_ + "topk_weight", Element::kF32, slots_);
  offsets_ = runtime.allocate(prefix_ + "offsets", Element::kI64, rule_.experts + 1);
  row_of_slot_ = runtime.allocate(prefix_ + "row_of_slot", Element::kI64, slots_);
  dispatched_ = pass_.room(prefix_ + "dispatched", slots_, config_.hidden_size);
  linear(pass_, x, rows_, prefix_ + "gate.weight", logits_);
  const Parameter& bias = pass_.parameters.of(prefix_ + "gate.e_score_correction_bias");
  // permute() moves 16-bit codes: of FP32 values two each.
  kernels::PermutationShape halves = shape();
  if (pass_.element == Element::kF32) halves.d *= 2;
  const auto* const from = static_cast<const std::uint16_t*>(x.data);
  runtime.run([&] {
    kernels::replace_non_finite(logits_.f32(), elements(logits_), pass_.non_finite.i64());
    kernels::route(logits_.f32(), bias.value.f32(), narrow(rows_), rule_, topk_idx_.i64(), topk_weight_.f32(),
                   Version::kTuned);
    kernels::permute(from, topk_idx_.i64(), halves, static_cast<std::uint16_t*>(dispatched_.data), offsets_.i64(),
                     row_of_slot_.i64(), Version::kTuned);
    if (pass_.loads.count == 0) return;
    const std::int64_t experts = rule_.experts;
    kernels::add_loads(offsets_.i64(), rule_.experts, pass_.loads.part(place_among_mixtures_ * experts, experts).i64());
  });
  pass_.tap(fmt::format("router.logits.layer{}", layer_), logits_, {rows_, rule_.experts});
  pass_.tap(fmt::format("router.topk_idx.layer{}", layer_), topk_idx_, {rows_, rule_.top_k});
  pass_.tap(fmt::format("router.topk_weight.layer{}", layer_), topk_weight_, {rows_, rule_.top_k});
}

void MixtureLayer::run_experts(const Array& x, const Array& y) {
  const std::int64_t width = config_.moe_intermediate_size;
  gate_ = pass_.room(prefix_ + "experts.gate", slots_, width);
  up_ = pass_.room(prefix_ + "experts.up", slots_, width);
  hidden_ = pass_.room(prefix_ + "experts.hidden", slots_, width);
  outputs_ = pass_.room(prefix_ + "experts.outputs", slots_, config_.hidden_size);
  expert_linear(pass_, x, slots_, offsets_, prefix_ + "experts.gate_proj.weight", gate_);
  expert_linear(pass_, x, slots_, offsets_, prefix_ + "experts.up_proj.weight", up_);
  run_swiglu(pass_, gate_, up_, hidden_);
  expert_linear(pass_, hidden_, slots_, offsets_, prefix_ + "experts.down_proj.weight", outputs_);
  pass_.runtime.run(
      [&] { kernels::combine_rows(outputs_.values(), row_of_slot_.i64(), topk_weight_.f32(), shape(), y.values()); });
}

void MixtureLayer::forward(const Array& x, const Array& y) {
  route(x);
  run_experts(dispatched_, y);
  if (!shared_) return;
  const Array shared_y = pass_.room(prefix_ + "shared", rows_, config_.hidden_size);
  shared_->forward(x, shared_y);
  add(pass_, y, shared_y, y);
}

// dx = what comes back through the experts from the gradient of their outputs.
void MixtureLayer::backward_experts(const Array& doutputs, const Array& dx) {
  const std::int64_t width = config_.moe_intermediate_size;
  const Array dhidden = pass_.room("dhidden", slots_, width);
  expert_linear_gradient(pass_, doutputs, hidden_, slots_, offsets_, prefix_ + "experts.down_proj.weight", dhidden);
  const GatePair grads = swiglu_backward(pass_, dhidden, gate_, up_);
  const Array drows = pass_.room("dispatched gradient", slots_, config_.hidden_size);
  expert_linear_gradient(pass_, grads.gate, dispatched_, slots_, offsets_, prefix_ + "experts.gate_proj.weight", drows);
  expert_linear_gradient(pass_, grads.up, dispatched_, slots_, offsets_, prefix_ + "experts.up_proj.weight", drows,
                         true);
  pass_.runtime.run([&] {
    with_type(dx.element, [&](auto type) {
      using T = decltype(type);
      kernels::permute_backward(drows.as<T>(), row_of_slot_.i64(), shape(), dx.as<T>(), Version::kTuned);
    });
  });
}

void MixtureLayer::backward(const Array& dy, const Array& x, const Array& dx) {
  const Runtime::Scope scope(pass_.runtime);
  const Array doutputs = pass_.room("doutputs", slots_, config_.hidden_size);
  const Array dweights = pass_.runtime.allocate("dweights", Element::kF32, slots_);
  const Array dlogits = pass_.runtime.allocate("dlogits", Element::kF32, logits_.count);
  pass_.runtime.run([&] {
    with_type(dy.element, [&](auto type) {
      using T = decltype(type);
      kernels::unpermute_backward<T>({dy.as<T>(), outputs_.as<T>(), offsets_.i64(), row_of_slot_.i64(),
                                      topk_weight_.f32(), doutputs.as<T>(), dweights.f32(), shape()},
                                     Version::kTuned);
    });
    kernels::route_backward(logits_.f32(), topk_idx_.i64(), dweights.f32(), narrow(rows_), rule_, dlogits.f32(),
                            Version::kTuned);
  });
  backward_experts(doutputs, dx);
  linear_gradient(pass_, dlogits, x, rows_, prefix_ + "gate.weight", dx, true);
  if (!shared_) return;
  const Array dshared = pass_.room("dshared", rows_, config_.hidden_size);
  shared_->backward(dy, x, dshared);
  add(pass_, dx, dshared, dx);
}

std::unique_ptr<FeedForwardLayer> make_feed_forward_layer(std::int64_t layer, const Pass& pass) {
  if (pass.config.is_moe_layer(layer)) return std::make_unique<MixtureLayer>(layer, pass);
  return std::make_unique<SwigluLayer>(pass, model::layer_prefix(layer) + "mlp", pass.config.intermediate_size);
}

std::vector<std::int64_t> mixture_layers(const model::ModelConfig& config, bool mtp) {
  const std::int64_t count = config.num_hidden_layers + (mtp ? config.num_nextn_predict_layers : 0);
  std::vector<std::int64_t> layers;
  for (std::int64_t layer = 0; layer < count; ++layer)
    if (config.is_moe_layer(layer)) layers.push_back(layer);
  return layers;
}

}  // namespace lastbit::device

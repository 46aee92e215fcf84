#include "kernels/doctor/device_path.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/philox.h"
#include "kernels/device/availability.h"
#include "kernels/device/feed_forward_layer.h"
#include "kernels/device/support.h"
#include "kernels/device/training_step.h"
#include "model/config_file.h"
#include "model/init.h"
#include "model/parameter_groups.h"
#include "model/transformer.h"
#include "model/weight_specs.h"
#include "ops/bias_update.h"
#include "tensor/cast.h"
#include "train/gradient_clip.h"

namespace lastbit::kernels {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

constexpr std::size_t kMostArrays = 3;  // that are named of those which are too far off
constexpr std::int64_t kTokens = 6;
constexpr train::AdamWStep kStep{3, 1e-2, 0};  // the scale comes from the norm
constexpr double kBiasRate = 0.01;

// A dense layer, a mixture and an MTP module, so small that the executor takes seconds.
model::ModelConfig small_model() {
  return model::parse_model_config({{"model_type", "deepseek_v3"},
                                    {"vocab_size", 48},
                                    {"hidden_size", 64},
                                    {"intermediate_size", 48},
                                    {"num_hidden_layers", 2},
                                    {"num_nextn_predict_layers", 1},
                                    {"num_attention_heads", 4},
                                    {"num_key_value_heads", 4},
                                    {"q_lora_rank", 64},
                                    {"kv_lora_rank", 32},
                                    {"qk_nope_head_dim", 32},
                                    {"qk_rope_head_dim", 16},
                                    {"v_head_dim", 32},
                                    {"n_routed_experts", 8},
                                    {"n_shared_experts", 1},
                                    {"num_experts_per_tok", 2},
                                    {"moe_intermediate_size", 24},
                                    {"first_k_dense_replace", 1},
                                    {"moe_layer_freq", 1},
                                    {"n_group", 4},
                                    {"topk_group", 2},
                                    {"topk_method", "noaux_tc"},
                                    {"scoring_func", "sigmoid"},
                                    {"norm_topk_prob", true},
                                    {"routed_scaling_factor", 2.5},
                                    {"rms_norm_eps", 1e-6},
                                    {"rope_theta", 10000.0},
                                    {"max_position_embeddings", 64},
                                    {"hidden_act", "silu"},
                                    {"initializer_range", 0.02},
                                    {"tie_word_embeddings", false}},
                                   "the model of doctor --gpu");
}

struct SmallStep {
  std::string numerics;
  model::ModelConfig config;
  std::vector<model::WeightSpec> specs;
  Tensor ids;
  NamedTensors weights = {};
  NamedTensors first = {};  // moments as if steps had been taken: from zeros AdamW's first step knows only signs
  NamedTensors second = {};
};

Tensor drawn(const core::RandomStream& random, const tensor::Shape& shape, float least, float most) {
  Tensor tensor = Tensor::empty(tensor::DType::kF32, shape);
  const auto values = tensor.mutable_values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = least + (most - least) * random.uniform(i);
  return tensor;
}

// Weights four times as large as at the start of a training, so that scores and choices turn on them.
SmallStep draw_step(const std::string& numerics, std::uint64_t seed) {
  SmallStep step{numerics, small_model(), {}, Tensor::empty(tensor::DType::kI64, {2, kTokens})};
  step.specs = model::main_weights(step.config);
  std::ranges::copy_if(model::mtp_weights(step.config), std::back_inserter(step.specs),
                       [](const model::WeightSpec& spec) { return spec.copy_of.empty(); });
  for (const model::WeightSpec& spec : step.specs) {
    Tensor weight = model::initial_weight(spec, step.config, seed).clone();
    const Tensor noise = drawn({seed, spec.name}, weight.shape(), -0.1F, 0.1F);
    const auto values = weight.mutable_values<float>();
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = spec.kind == model::WeightKind::kMatrix ? 4 * values[i] : values[i] + noise.values<float>()[i];
    const tensor::Shape& shape = weight.shape();
    step.first[spec.name] =
        tensor::cast(drawn({seed, "first " + spec.name}, shape, -1e-3F, 1e-3F), tensor::DType::kBF16);
    step.second[spec.name] = tensor::cast(drawn({seed, "second " + spec.name}, shape, 0, 1e-5F), tensor::DType::kBF16);
    step.weights[spec.name] = std::move(weight);
  }
  const core::RandomStream random(seed, "ids");
  const auto ids = step.ids.mutable_values<std::int64_t>();
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int64_t>(random.word(i) % static_cast<std::uint64_t>(step.config.vocab_size));
  return step;
}

NamedTensors copies_of(const NamedTensors& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors) copies[name] = tensor.clone();
  return copies;
}

train::StepUpdate update_of(const SmallStep& step, double gradient_norm) {
  train::StepUpdate update;
  update.step = kStep;
  update.step.gradient_scale = train::clip_factor(gradient_norm, 1);
  update.bias_rate = kBiasRate;
  for (const model::ParameterGroup& group : model::parameter_groups(step.specs))
    for (const std::string& weight : group.weights) update.decays[weight] = group.weight_decay;
  return update;
}

void add_changes(const SmallStep& step, const NamedTensors& weights, NamedTensors& arrays) {
  for (const auto& [name, before] : step.weights) {
    Tensor change = weights.at(name).clone();
    const auto values = change.mutable_values<float>();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] -= before.values<float>()[i];
    arrays["change of " + name] = std::move(change);
  }
}

void add_gradients(const NamedTensors& gradients, NamedTensors& arrays) {
  for (const auto& [name, gradient] : gradients) arrays["gradient of " + name] = gradient.clone();
}

NamedTensors on_device(const SmallStep& step) {
  const device::ModelUse use = device::model_use(ops::numerics_by_name(step.numerics), true, true, true);
  const std::vector<train::TokenRows> batches{{step.ids, {}}};
  const model::MtpOptions mtp;
  device::DeviceModel plan(step.config, use, device::Memory::kCounted, 0);
  (void)plan.forward(step.ids, {"logits"});
  (void)device::run_passes(plan, batches, mtp);
  device::update_weights(plan, update_of(step, 1));

  const device::Memory memory = device::on_executor() ? device::Memory::kBlocks : device::Memory::kOneBlock;
  device::DeviceModel model(step.config, use, memory, plan.runtime().peak_bytes());
  model.upload(model::Weights::from(copies_of(step.weights), true));
  model.parameters().upload(device::Parameters::Part::kFirst, step.first);
  model.parameters().upload(device::Parameters::Part::kSecond, step.second);
  NamedTensors arrays = model.forward(step.ids, {"logits"});
  const train::StepPasses passes = device::run_passes(model, batches, mtp);
  add_gradients(model.parameters().download(device::Parameters::Part::kGradient), arrays);
  device::update_weights(model, update_of(step, passes.gradient_norm));
  add_changes(step, model.parameters().download(device::Parameters::Part::kValue), arrays);
  return arrays;
}

// A step as train/trainer.cc takes it.
void take_step(const SmallStep& step, const model::Gradients& gradients, const model::LossResult& result,
               model::Weights& weights) {
  std::vector<std::span<const float>> all;
  for (const auto& [name, gradient] : gradients.tensors()) all.push_back(gradient.values<float>());
  const train::StepUpdate update = update_of(step, train::gradient_norm<float>(all));
  NamedTensors first = copies_of(step.first);
  NamedTensors second = copies_of(step.second);
  const auto codes = [](Tensor& moment) { return moment.view_as(tensor::DType::kU16).mutable_values<std::uint16_t>(); };
  for (const auto& [name, decays] : update.decays) {
    train::AdamWRule rule = update.rule;
    if (!decays) rule.weight_decay = 0;
    train::adamw_step(weights.of(name).mutable_values<float>(), gradients.tensors().at(name).values<float>(),
                      codes(first.at(name)), codes(second.at(name)), rule, update.step);
  }
  const std::vector<std::int64_t> layers = device::mixture_layers(step.config, true);
  for (std::size_t i = 0; i < layers.size(); ++i)
    ops::update_bias(weights.of(model::layer_prefix(layers[i]) + "mlp.gate.e_score_correction_bias"),
                     result.routing[i].metrics.load, kBiasRate);
}

NamedTensors on_reference(const SmallStep& step) {
  model::Transformer reference(step.config, model::Weights::from(copies_of(step.weights), true),
                               ops::numerics_by_name(step.numerics));
  model::ForwardOptions forward;
  forward.taps = {"logits"};
  NamedTensors arrays = reference.forward(step.ids, forward);
  model::Gradients gradients = reference.zero_gradients();
  model::LossOptions options;
  options.mtp = model::MtpOptions{};
  const model::LossResult result = reference.loss_and_gradients(step.ids, options, gradients);
  add_gradients(gradients.tensors(), arrays);
  take_step(step, gradients, result, reference.weights());
  NamedTensors weights;
  for (const auto& [name, weight] : step.weights) weights[name] = reference.weights().get(name);
  add_changes(step, weights, arrays);
  return arrays;
}

double relative_norm(const Tensor& found, const Tensor& expected) {
  const auto a = found.values<float>();
  const auto b = expected.values<float>();
  if (found.shape() != expected.shape()) return std::nan("");
  double distance = 0;
  double norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    distance += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return norm == 0 ? std::sqrt(distance) : std::sqrt(distance / norm);
}

}  // namespace

void compare_arrays(const NamedTensors& found, const NamedTensors& expected,
                    const std::function<double(const std::string& name)>& band, KernelRow& row) {
  for (const auto& [name, array] : expected) {
    const double distance = found.contains(name) ? relative_norm(found.at(name), array) : std::nan("");
    const bool within = distance <= band(name);
    (within ? row.passed : row.failed) += 1;
    if (!within && row.findings.size() < kMostArrays)
      row.findings.push_back(fmt::format("{}: relative norm {:.3g} from the reference, expected at most {:.3g}", name,
                                         distance, band(name)));
  }
  row.verdict = row.failed == 0 && row.passed > 0 ? DoctorVerdict::kAccepted : DoctorVerdict::kRejected;
}

KernelRow examine_device_path(const std::string& numerics, std::uint64_t seed) {
  // FP32: sums in another order, some 1e-6 where they cancel. BF16: roundings that go the other way, by a 2^-8th at
  // most each; some 60 lie one behind the other forward and back, sqrt(60) 2^-8 = 0.03, and half as many forward. A
  // moment that rounds to BF16 the other way moves a weight's change by as much again.
  const bool wide = numerics == "fp32";
  const auto band = [wide](const std::string& name) {
    if (name == "logits") return wide ? 2e-5 : 0.02;
    return (wide ? 2e-5 : 0.03) + (name.starts_with("change") ? 0x1p-8 : 0);
  };
  KernelRow row{kDevicePath, "model", numerics};
  row.tolerance = wide ? "2e-5 of the norm" : "0.03 of the norm";
  const SmallStep step = draw_step(numerics, seed);
  compare_arrays(on_device(step), on_reference(step), band, row);
  return row;
}

}  // namespace lastbit::kernels

// A training step of the device path on the executor against the reference.
#include "kernels/device/training_step.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "kernels/device/device_path.h"
#include "kernels/device/feed_forward_layer.h"
#include "kernels/simt/every_order.h"
#include "model/parameter_groups.h"
#include "ops/bias_update.h"
#include "tensor/cast.h"
#include "train/gradient_clip.h"

namespace lastbit::device {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

struct StepCase {
  model::ModelConfig config;
  std::vector<train::TokenRows> batches;
  model::MtpOptions mtp;
  Element element = Element::kF32;
  NamedTensors weights = {};  // before the step, with its moments
  NamedTensors first = {};
  NamedTensors second = {};
};

constexpr train::AdamWStep kStep{3, 1e-2, 0};  // the scale comes from the norm
constexpr double kBiasRate = 0.01;

struct StepOutcome {
  train::StepPasses passes;
  NamedTensors gradients;  // before clipping
  NamedTensors weights;
  NamedTensors first;
  NamedTensors second;
};

train::StepUpdate update_for(const model::ModelConfig& config, double gradient_norm) {
  std::vector<model::WeightSpec> specs = model::main_weights(config);
  std::ranges::copy(model::mtp_weights(config), std::back_inserter(specs));
  train::StepUpdate update;
  update.step = kStep;
  update.step.gradient_scale = train::clip_factor(gradient_norm, 1);
  for (const model::ParameterGroup& group : model::parameter_groups(specs))
    for (const std::string& weight : group.weights) update.decays[weight] = group.weight_decay;
  update.bias_rate = kBiasRate;
  return update;
}

// Moments as if two steps had been taken.
NamedTensors drawn_moments(const NamedTensors& weights, bool first) {
  NamedTensors moments;
  for (const auto& [name, weight] : weights) {
    Tensor moment = Tensor::empty(tensor::DType::kF32, weight.shape());
    const core::RandomStream random(first ? 3 : 4, name);
    const auto values = moment.mutable_values<float>();
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = first ? 1e-3F * (2 * random.uniform(i) - 1) : 1e-5F * random.uniform(i);
    moments[name] = tensor::cast(moment, tensor::DType::kBF16);
  }
  return moments;
}

StepOutcome on_device(const StepCase& test, Memory memory) {
  const ModelUse use{test.element, true, true, true};
  DeviceModel plan(test.config, use, Memory::kCounted, 0);
  static_cast<void>(run_passes(plan, test.batches, test.mtp));
  update_weights(plan, update_for(test.config, 1));
  DeviceModel device(test.config, use, memory, plan.runtime().peak_bytes());
  device.upload(model::Weights::from(test.weights, true));
  device.parameters().upload(Parameters::Part::kFirst, test.first);
  device.parameters().upload(Parameters::Part::kSecond, test.second);
  StepOutcome outcome;
  // For the report alone: whatever is sent is sent before the first kernel.
  const std::int64_t before = device.runtime().waits();
  outcome.passes = run_passes(device, test.batches, test.mtp);
  EXPECT_EQ(device.runtime().waits() - before, 1);
  outcome.gradients = device.parameters().download(Parameters::Part::kGradient);
  const std::int64_t waits = device.runtime().waits();
  update_weights(device, update_for(test.config, outcome.passes.gradient_norm));
  EXPECT_EQ(device.runtime().waits(), waits);
  outcome.weights = device.parameters().download(Parameters::Part::kValue);
  outcome.first = device.parameters().download(Parameters::Part::kFirst);
  outcome.second = device.parameters().download(Parameters::Part::kSecond);
  EXPECT_EQ(device.runtime().peak_bytes(), plan.runtime().peak_bytes());
  return outcome;
}

NamedTensors copies(const NamedTensors& tensors) {
  NamedTensors copied;
  for (const auto& [name, tensor] : tensors) copied[name] = tensor.clone();
  return copied;
}

// What train/trainer.cc does, from the reference's parts.
StepOutcome on_host(const StepCase& test, const char* numerics) {
  model::Transformer reference(test.config, model::Weights::from(copies(test.weights), true),
                               ops::numerics_by_name(numerics));
  model::Gradients gradients = reference.zero_gradients();
  StepOutcome outcome;
  for (const train::TokenRows& batch : test.batches) {
    model::LossOptions options;
    options.mtp = test.mtp;
    options.padding = batch.padding;
    const model::LossResult result = reference.loss_and_gradients(batch.ids, options, gradients);
    outcome.passes.losses.push_back({result.main, result.mtp});
    outcome.passes.loads.resize(result.routing.size());
    for (std::size_t i = 0; i < result.routing.size(); ++i) {
      const std::vector<std::int64_t>& load = result.routing[i].metrics.load;
      outcome.passes.loads[i].resize(load.size());
      std::ranges::transform(load, outcome.passes.loads[i], outcome.passes.loads[i].begin(), std::plus<>());
    }
  }
  std::vector<std::span<const float>> all;
  for (const auto& [name, gradient] : gradients.tensors()) all.push_back(gradient.values<float>());
  outcome.passes.gradient_norm = train::gradient_norm<float>(all);
  outcome.gradients = gradients.tensors();
  outcome.first = copies(test.first);
  outcome.second = copies(test.second);
  const train::StepUpdate update = update_for(test.config, outcome.passes.gradient_norm);
  for (const auto& [name, decays] : update.decays) {
    train::AdamWRule rule = update.rule;
    if (!decays) rule.weight_decay = 0;
    const auto codes = [&](NamedTensors& moments) {
      return moments.at(name).view_as(tensor::DType::kU16).mutable_values<std::uint16_t>();
    };
    train::adamw_step(reference.weights().of(name).mutable_values<float>(), gradients.of(name).values<float>(),
                      codes(outcome.first), codes(outcome.second), rule, update.step);
  }
  const std::vector<std::int64_t> layers = mixture_layers(test.config, true);
  for (std::size_t i = 0; i < layers.size(); ++i)
    ops::update_bias(reference.weights().of(model::layer_prefix(layers[i]) + "mlp.gate.e_score_correction_bias"),
                     outcome.passes.loads[i], kBiasRate);
  for (const auto& [name, weight] : test.weights) outcome.weights[name] = reference.weights().get(name);
  return outcome;
}

// The change of weights that a step made.
Tensor moved(const Tensor& from, const Tensor& to) {
  Tensor change = to.clone();
  const auto values = change.mutable_values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] -= from.values<float>()[i];
  return change;
}

StepCase step_of(const model::ModelConfig& config, Element element) {
  StepCase test{config, {}, {}, element};
  test.weights = drawn_weights(config);
  test.first = drawn_moments(test.weights, true);
  test.second = drawn_moments(test.weights, false);
  return test;
}

// Two micro-batches, the second with padding at its end.
StepCase small_step(const model::ModelConfig& config, std::int64_t tokens, Element element) {
  StepCase test = step_of(config, element);
  test.batches.push_back({drawn_ids(config, 2, tokens), {}});
  test.batches.push_back({drawn_ids(config, 1, tokens), Tensor::zeros(tensor::DType::kBool, {1, tokens})});
  test.batches.back().padding.mutable_values<bool>().back() = true;
  return test;
}

void compare(const StepCase& test, const StepOutcome& found, const StepOutcome& expected, double tolerance) {
  for (std::size_t i = 0; i < expected.passes.losses.size(); ++i) {
    const train::MicroBatchLoss& loss = found.passes.losses[i];
    const train::MicroBatchLoss& other = expected.passes.losses[i];
    EXPECT_EQ(loss.main.targets, other.main.targets);
    EXPECT_NEAR(loss.main.nll, other.main.nll, tolerance * other.main.nll);
    ASSERT_EQ(loss.mtp.size(), other.mtp.size());
    for (std::size_t depth = 0; depth < other.mtp.size(); ++depth) {
      EXPECT_EQ(loss.mtp[depth].targets, other.mtp[depth].targets);
      EXPECT_NEAR(loss.mtp[depth].nll, other.mtp[depth].nll, tolerance * other.mtp[depth].nll);
    }
  }
  EXPECT_NEAR(found.passes.gradient_norm, expected.passes.gradient_norm, tolerance * expected.passes.gradient_norm);
  ASSERT_EQ(found.gradients.size(), expected.gradients.size());
  for (const auto& [name, gradient] : expected.gradients) {
    EXPECT_LT(relative_distance(found.gradients.at(name), gradient), tolerance) << name;
    // A moment that rounds the other way is a 2^-8th off at most, and so is the step of its weight.
    const auto moment = [&](const NamedTensors& moments) { return tensor::to_f32(moments.at(name)); };
    EXPECT_LT(relative_distance(moment(found.first), moment(expected.first)), 0x1p-8 + tolerance) << name;
    EXPECT_LT(relative_distance(moment(found.second), moment(expected.second)), 0x1p-8 + tolerance) << name;
    EXPECT_LT(relative_distance(moved(test.weights.at(name), found.weights.at(name)),
                                moved(test.weights.at(name), expected.weights.at(name))),
              0x1p-8 + tolerance)
        << name;
  }
}

}  // namespace

// FP32 sums in another order, some 1e-6 where they cancel.
TEST(TrainingStep, OfTinyIsTheReferences) {
  StepCase test = step_of(tiny_config(), Element::kF32);
  test.batches.push_back({drawn_ids(test.config, 2, 10), {}});
  const StepOutcome expected = on_host(test, "fp32");
  const StepOutcome found = on_device(test, Memory::kBlocks);
  compare(test, found, expected, 2e-5);
  EXPECT_EQ(found.passes.loads, expected.passes.loads);
  for (const std::int64_t layer : mixture_layers(test.config, true)) {
    const std::string bias = model::layer_prefix(layer) + "mlp.gate.e_score_correction_bias";
    EXPECT_TRUE(std::ranges::equal(found.weights.at(bias).bytes(), expected.weights.at(bias).bytes())) << bias;
    EXPECT_GT(relative_distance(found.weights.at(bias), test.weights.at(bias)), 0) << bias;
  }
}

// The reference's tensor core truncates its sums where mma.sync, on the executor Ampere's, does so elsewhere, and so
// results round to BF16 the other way now and then: by a 2^-8th at most. Some 60 roundings lie one behind the other on
// the longest way through four blocks and back, which is sqrt(60) 2^-8 = 0.03 if they know nothing of each other. FP32
// is further away.
TEST(TrainingStep, InBf16IsTheReferences) {
  StepCase test = step_of(tiny_config({{"vocab_size", 256}}), Element::kBF16);
  test.batches.push_back({drawn_ids(test.config, 2, 10), {}});
  const StepOutcome expected = on_host(test, "bf16");
  const StepOutcome found = on_device(test, Memory::kBlocks);
  compare(test, found, expected, 0.03);
  EXPECT_EQ(found.passes.loads, expected.passes.loads);
  const StepOutcome wide = on_host(test, "fp32");
  const std::string table = "model.embed_tokens.weight";
  EXPECT_GT(relative_distance(found.gradients.at(table), wide.gradients.at(table)), 0.06);
}

std::vector<float> all_weights(const StepCase& test, Memory memory) {
  std::vector<float> all;
  for (const auto& [name, weight] : on_device(test, memory).weights)
    all.insert(all.end(), weight.values<float>().begin(), weight.values<float>().end());
  return all;
}

TEST(TrainingStep, BitsDependOnNeitherOrderNorMemory) {
  const nlohmann::json least{{"vocab_size", 48},           {"hidden_size", 64},     {"intermediate_size", 48},
                             {"num_hidden_layers", 2},     {"n_routed_experts", 8}, {"num_experts_per_tok", 2},
                             {"moe_intermediate_size", 24}};
  StepCase test = small_step(tiny_config(least), 5, Element::kBF16);
  test.mtp.variant = model::MtpVariant::kHf;
  const std::vector<float> weights =
      simt::in_every_order("training step", [&] { return all_weights(test, Memory::kBlocks); });
  EXPECT_EQ(weights, all_weights(test, Memory::kOneBlock));
}

// As transformers has MTP, two modules deep, and its other options.
TEST(TrainingStep, EveryFormOfMtpIsTheReferences) {
  const nlohmann::json deep{{"vocab_size", 48},
                            {"hidden_size", 64},
                            {"intermediate_size", 48},
                            {"num_hidden_layers", 1},
                            {"num_nextn_predict_layers", 2},
                            {"q_lora_rank", nullptr},
                            {"n_routed_experts", 8},
                            {"num_experts_per_tok", 2},
                            {"moe_intermediate_size", 24}};
  for (const model::MtpVariant variant : {model::MtpVariant::kPaper, model::MtpVariant::kHf}) {
    StepCase test = small_step(tiny_config(deep), 5, Element::kF32);
    test.mtp = {variant, 0.7, variant == model::MtpVariant::kHf, variant == model::MtpVariant::kHf};
    compare(test, on_device(test, Memory::kBlocks), on_host(test, "fp32"), 2e-5);
  }
}

// The embedding is the head's matrix, too: its gradient has both parts. In BF16 as in InBf16IsTheReferences, with fewer
// roundings.
TEST(TrainingStep, WithTiedEmbeddingsIsTheReferences) {
  const nlohmann::json tied{{"tie_word_embeddings", true}, {"vocab_size", 48},           {"hidden_size", 64},
                            {"intermediate_size", 48},     {"num_hidden_layers", 2},     {"n_routed_experts", 8},
                            {"num_experts_per_tok", 2},    {"moe_intermediate_size", 24}};
  StepCase test = small_step(tiny_config(tied), 5, Element::kF32);
  compare(test, on_device(test, Memory::kBlocks), on_host(test, "fp32"), 2e-5);
  test.element = Element::kBF16;
  compare(test, on_device(test, Memory::kBlocks), on_host(test, "bf16"), 0.03);
}

// An infinite weight ends the passes, and nothing of the model has changed.
TEST(TrainingStep, NumbersThatAreNotFiniteLeaveWeightsAndMoments) {
  const nlohmann::json least{{"vocab_size", 48},           {"hidden_size", 64},     {"intermediate_size", 48},
                             {"num_hidden_layers", 2},     {"n_routed_experts", 8}, {"num_experts_per_tok", 2},
                             {"moe_intermediate_size", 24}};
  StepCase test = small_step(tiny_config(least), 5, Element::kF32);
  test.weights.at("model.layers.0.mlp.down_proj.weight").mutable_values<float>()[0] =
      std::numeric_limits<float>::infinity();
  const ModelUse use{test.element, true, true, true};
  DeviceModel plan(test.config, use, Memory::kCounted, 0);
  static_cast<void>(run_passes(plan, test.batches, test.mtp));
  DeviceModel device(test.config, use, Memory::kBlocks, plan.runtime().peak_bytes());
  device.upload(model::Weights::from(test.weights, true));
  device.parameters().upload(Parameters::Part::kFirst, test.first);
  device.parameters().upload(Parameters::Part::kSecond, test.second);
  EXPECT_THROW(static_cast<void>(run_passes(device, test.batches, test.mtp)), core::Error);
  const auto expect_same = [&](Parameters::Part part, const NamedTensors& before) {
    for (const auto& [name, tensor] : device.parameters().download(part))
      EXPECT_TRUE(std::ranges::equal(tensor.bytes(), before.at(name).bytes())) << name;
  };
  expect_same(Parameters::Part::kValue, test.weights);
  expect_same(Parameters::Part::kFirst, test.first);
  expect_same(Parameters::Part::kSecond, test.second);
}

}  // namespace lastbit::device

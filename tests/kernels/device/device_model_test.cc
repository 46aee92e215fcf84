// The device path's forward pass on the executor against the reference.
#include "kernels/device/device_model.h"

#include <algorithm>
#include <functional>

#include "core/error.h"
#include "kernels/device/device_path.h"
#include "kernels/device/support.h"
#include "kernels/device/training_step.h"
#include "kernels/simt/every_order.h"

namespace lastbit::device {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

const std::vector<std::string> kTaps{"logits",
                                     "logits.last",
                                     "loss",
                                     "hidden.layer0",
                                     "router.topk_idx.layer1",
                                     "router.topk_idx.layer3",
                                     "router.topk_weight.layer2"};

// A layer of each kind, and nothing more.
model::ModelConfig least_config() { return tiny_config({{"vocab_size", 96}, {"num_hidden_layers", 2}}); }

NamedTensors on_device(const model::ModelConfig& config, const Tensor& ids, const std::vector<std::string>& taps,
                       const char* numerics, Memory memory) {
  const ModelUse use = model_use(ops::numerics_by_name(numerics), false, false, false);
  DeviceModel plan(config, use, Memory::kCounted, 0);
  static_cast<void>(plan.forward(ids, taps));
  DeviceModel device(config, use, memory, plan.runtime().peak_bytes());
  device.upload(model::Weights::from(drawn_weights(config), false));
  NamedTensors found = device.forward(ids, taps);
  EXPECT_EQ(device.runtime().peak_bytes(), plan.runtime().peak_bytes());
  return found;
}

NamedTensors on_host(const model::ModelConfig& config, const Tensor& ids, const char* numerics,
                     const std::vector<std::string>& taps = kTaps) {
  const model::Transformer reference(config, model::Weights::from(drawn_weights(config), false),
                                     ops::numerics_by_name(numerics));
  model::ForwardOptions options;
  options.taps = taps;
  return reference.forward(ids, options);
}

// The order of additions is all that differs in FP32: some 1e-7 an operator, of which a token passes a few dozen.
TEST(DeviceModel, ForwardOfTinyIsTheReferences) {
  const model::ModelConfig config = tiny_config();
  const Tensor ids = drawn_ids(config, 2, 16);
  const NamedTensors expected = on_host(config, ids, "fp32");
  const NamedTensors found = on_device(config, ids, kTaps, "fp32", Memory::kBlocks);
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    if (tensor.dtype() == tensor::DType::kI64)
      EXPECT_TRUE(std::ranges::equal(tensor.bytes(), found.at(name).bytes())) << name;
    else
      EXPECT_LT(relative_distance(found.at(name), tensor), 2e-5) << name;
  }
}

// Roundings that go the other way, as training_step_test.cc counts them: half as many forward, 0.02.
TEST(DeviceModel, ForwardInBf16IsTheReferences) {
  const model::ModelConfig config = tiny_config({{"vocab_size", 256}});
  const Tensor ids = drawn_ids(config, 2, 10);
  const NamedTensors expected = on_host(config, ids, "bf16");
  const NamedTensors found = on_device(config, ids, kTaps, "bf16", Memory::kBlocks);
  for (const char* name : {"logits", "logits.last", "loss", "hidden.layer0", "router.topk_weight.layer2"})
    EXPECT_LT(relative_distance(found.at(name), expected.at(name)), 0.02) << name;
  EXPECT_GT(relative_distance(found.at("logits"), on_host(config, ids, "fp32").at("logits")), 0.02);
}

// Products of the same codes have the reference's bits, so that values part only where a norm, an exponential or
// attention rounds the other way. One such element of a row of 64 is 2^-8 / sqrt(64) of it, and 2^-4 / sqrt(64) =
// 0.008 where its E4M3 code turns, too; held to a few of these. The policy's own distance from bf16 is far beyond.
TEST(DeviceModel, ForwardInFp8IsTheReferences) {
  const model::ModelConfig config = small_config();
  const Tensor ids = drawn_ids(config, 1, 10);
  const NamedTensors expected = on_host(config, ids, "fp8-h800");
  const NamedTensors found = on_device(config, ids, kTaps, "fp8-h800", Memory::kBlocks);
  for (const auto& [name, tensor] : expected) {
    if (tensor.dtype() == tensor::DType::kI64)
      EXPECT_TRUE(std::ranges::equal(tensor.bytes(), found.at(name).bytes())) << name;
    else
      EXPECT_LT(relative_distance(found.at(name), tensor), 0.02) << name;
  }
  EXPECT_GT(relative_distance(found.at("logits"), on_host(config, ids, "bf16").at("logits")), 0.1);
}

// Several blocks of 128 along K, and several tiles of outputs an expert.
TEST(DeviceModel, ForwardInFp8OfWideLayersIsTheReferences) {
  const model::ModelConfig config = tiny_config({{"vocab_size", 96},
                                                 {"hidden_size", 288},
                                                 {"intermediate_size", 272},
                                                 {"num_hidden_layers", 2},
                                                 {"n_routed_experts", 8},
                                                 {"num_experts_per_tok", 2},
                                                 {"moe_intermediate_size", 160}});
  const Tensor ids = drawn_ids(config, 1, 6);
  const std::vector<std::string> taps{"logits", "hidden.layer0"};
  const NamedTensors expected = on_host(config, ids, "fp8-h800", taps);
  const NamedTensors found = on_device(config, ids, taps, "fp8-h800", Memory::kBlocks);
  for (const std::string& name : taps) EXPECT_LT(relative_distance(found.at(name), expected.at(name)), 0.02) << name;
}

std::vector<float> logits_of(const model::ModelConfig& config, const char* numerics, Memory memory) {
  const NamedTensors found = on_device(config, drawn_ids(config, 2, 5), {"logits"}, numerics, memory);
  const auto values = found.at("logits").values<float>();
  return {values.begin(), values.end()};
}

TEST(DeviceModel, BitsDependOnNeitherOrderNorMemory) {
  const model::ModelConfig config = least_config();
  const std::vector<float> logits =
      simt::in_every_order("forward", [&] { return logits_of(config, "fp32", Memory::kBlocks); });
  EXPECT_EQ(logits, logits_of(config, "fp32", Memory::kOneBlock));
}

void expect_bits_of_one_pass(const char* numerics) {
  const model::ModelConfig config = tiny_config({{"vocab_size", 96},
                                                 {"hidden_size", 64},
                                                 {"intermediate_size", 48},
                                                 {"num_hidden_layers", 2},
                                                 {"n_routed_experts", 8},
                                                 {"num_experts_per_tok", 2},
                                                 {"moe_intermediate_size", 24}});
  const ModelUse use = model_use(ops::numerics_by_name(numerics), false, false, false);
  const Tensor ids = drawn_ids(config, 1, 5);
  const auto decode = [&](DeviceModel& device) {
    device.make_cache(5);
    std::vector<std::vector<float>> logits{device.decode(ids.slice(1, 0, 2).contiguous())};
    for (std::int64_t token = 2; token < 5; ++token)
      logits.push_back(device.decode(ids.slice(1, token, token + 1).contiguous()));
    return logits;
  };
  DeviceModel plan(config, use, Memory::kCounted, 0);
  static_cast<void>(decode(plan));
  DeviceModel device(config, use, Memory::kBlocks, plan.runtime().peak_bytes());
  device.upload(model::Weights::from(drawn_weights(config), false));
  const std::vector<std::vector<float>> found = decode(device);
  const Tensor all = on_device(config, ids, {"logits"}, numerics, Memory::kBlocks).at("logits");
  for (std::int64_t token = 1; token < 5; ++token) {
    const Tensor row = all.slice(1, token, token + 1).contiguous();
    EXPECT_TRUE(std::ranges::equal(row.values<float>(), found[static_cast<std::size_t>(token - 1)]))
        << numerics << ", token " << token;
  }
}

TEST(DeviceModel, DecodingGivesTheBitsOfOnePass) {
  for (const char* numerics : {"fp32", "bf16", "fp8-h800"}) expect_bits_of_one_pass(numerics);
}

std::string message_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  return "no error";
}

TEST(DeviceModel, WhatItCannotDoIsOneLine) {
  const auto make = [](const nlohmann::json& changes) {
    return message_of([&] { DeviceModel(tiny_config(changes), {}, Memory::kCounted, 0); });
  };
  EXPECT_EQ(make({{"attention_bias", true}}),
            "the device path: the model has attention_bias, expected projections without biases; --device cpu has it");
  DeviceModel plan(least_config(), {}, Memory::kCounted, 0);
  EXPECT_EQ(message_of([&] { static_cast<void>(plan.forward(drawn_ids(plan.config(), 1, 2), {"logit"})); }),
            "tap 'logit': not one of the device path's (did you mean 'logits'?); --device cpu has all");
  EXPECT_EQ(message_of([&] { static_cast<void>(plan.forward(drawn_ids(plan.config(), 1, 16385), {"loss"})); }),
            "the device path: sequences of 16385 tokens, expected at most 16384; --device cpu has longer ones");
  const auto use = [](const char* numerics, bool gradients) {
    return message_of([&] { static_cast<void>(model_use(ops::numerics_by_name(numerics), false, gradients, false)); });
  };
  EXPECT_EQ(use("fp8-b200", false),
            "the device path: numerics 'fp8-b200', expected fp32, bf16 or fp8-h800; --device cpu has the others");
  EXPECT_EQ(use("fp8-h800", true),
            "the device path: numerics 'fp8-h800' with gradients, expected fp32 or bf16; --device cpu has them");
}

// Counting a pass finds what its kernels have no room for and could not count.
TEST(DeviceModel, SizesBeyondTheKernelsAreRefused) {
  const auto step = [](const nlohmann::json& changes, std::int64_t tokens) {
    DeviceModel plan(tiny_config(changes), {Element::kF32, false, true}, Memory::kCounted, 0);
    const std::vector<train::TokenRows> batches{{drawn_ids(plan.config(), 1, tokens), {}}};
    return message_of([&] { static_cast<void>(run_passes(plan, batches, std::nullopt)); });
  };
  EXPECT_EQ(
      step({{"num_hidden_layers", 1}}, 12289),
      "the device path: sequences of 12289 tokens with gradients, expected at most 12288; --device cpu has longer "
      "ones");
  EXPECT_EQ(step({{"num_hidden_layers", 1}, {"intermediate_size", 1 << 20}}, 4096),
            "the device path: 4294967296 elements for one kernel, expected at most 2147483647: fewer tokens a pass");
}

// Weights that overflow: the routers' logits become NaN, and the pass stays in bounds.
TEST(DeviceModel, NumbersThatAreNotFiniteAreSeen) {
  const model::ModelConfig config = least_config();
  NamedTensors weights = drawn_weights(config);
  for (float& value : weights.at("model.layers.0.mlp.down_proj.weight").mutable_values<float>()) value = 3e38F;
  const Tensor ids = drawn_ids(config, 1, 3);
  DeviceModel plan(config, {}, Memory::kCounted, 0);
  static_cast<void>(plan.forward(ids, {"logits"}));
  DeviceModel device(config, {}, Memory::kBlocks, plan.runtime().peak_bytes());
  device.upload(model::Weights::from(weights, false));
  EXPECT_EQ(message_of([&] { static_cast<void>(device.forward(ids, {"logits"})); }),
            "48 router logits are not finite: with these weights the activations overflow");
}

}  // namespace
}  // namespace lastbit::device

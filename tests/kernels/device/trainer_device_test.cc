// A trainer whose steps run on a device.
#include "kernels/device/trainer_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "support/shared.h"
#include "train/small_run.h"
#include "train/train_run.h"
#include "train/trainer.h"

namespace lastbit::device {
namespace {

train::TrainConfig config_of(const testing::TempDir& folder, const nlohmann::json& changes = nlohmann::json::object()) {
  nlohmann::json object = train::small_run(folder, {{"ema_decay", nullptr},
                                                    {"balance", {{"auxiliary_losses", false}, {"bias_rate", 0.01}}},
                                                    {"data", {{"sequence_tokens", 6}}},
                                                    {"batch", {{"sequences", 2}, {"micro_sequences", 1}}}});
  object.merge_patch(changes);
  return train::parse_train_config(object, folder.file("small.toml"), folder.path());
}

train::MakeStepDevice on_blocks() {
  return [](const train::DevicePlan& plan) { return make_step_device(plan, Memory::kBlocks); };
}

TEST(TrainerDevice, StepsAreTheTrainers) {
  const testing::TempDir folder;
  const train::TrainConfig config = config_of(folder);
  train::Trainer host(config);
  train::Trainer device(config, on_blocks());
  for (int i = 0; i < 2; ++i) {
    const train::StepReport expected = host.step();
    const train::StepReport found = device.step();
    EXPECT_NEAR(found.loss, expected.loss, 1e-5 * expected.loss);
    EXPECT_NEAR(found.main_loss, expected.main_loss, 1e-5 * expected.main_loss);
    EXPECT_NEAR(found.mtp_loss.at(0), expected.mtp_loss.at(0), 1e-5 * expected.mtp_loss.at(0));
    EXPECT_NEAR(found.gradient_norm, expected.gradient_norm, 1e-4 * expected.gradient_norm);
    EXPECT_EQ(found.learning_rate, expected.learning_rate);
    ASSERT_EQ(found.layers.size(), expected.layers.size());
    for (std::size_t layer = 0; layer < found.layers.size(); ++layer) {
      EXPECT_EQ(found.layers[layer].layer, expected.layers[layer].layer);
      EXPECT_EQ(found.layers[layer].load, expected.layers[layer].load);
      EXPECT_EQ(found.layers[layer].entropy, expected.layers[layer].entropy);
    }
  }
  const std::string bias = "model.layers.1.mlp.gate.e_score_correction_bias";
  device.collect();
  EXPECT_TRUE(std::ranges::equal(device.state().weights.at(bias).bytes(), host.state().weights.at(bias).bytes()));
}

std::vector<float> weights_of(train::Trainer& trainer) {
  trainer.collect();
  std::vector<float> all;
  for (const auto& [name, weight] : trainer.state().weights)
    all.insert(all.end(), weight.values<float>().begin(), weight.values<float>().end());
  return all;
}

TEST(TrainerDevice, GoesOnFromACheckpointWithTheSameBits) {
  const testing::TempDir folder;
  const train::TrainConfig config = config_of(folder);
  train::Trainer whole(config, on_blocks());
  static_cast<void>(whole.step());
  static_cast<void>(whole.step());
  train::Trainer first(config, on_blocks());
  static_cast<void>(first.step());
  first.collect();
  train::Trainer second(config, on_blocks());
  second.restore(first.state(), "checkpoint");
  static_cast<void>(second.step());
  EXPECT_EQ(weights_of(second), weights_of(whole));
}

// As the CPU's runs (train_run_test.cc).
TEST(TrainerDevice, DivergenceNamesThePlaceAndLeavesAStateThatRepeatsIt) {
  const testing::TempDir folder;
  const train::TrainConfig config = config_of(
      folder, {{"learning_rate", {{"schedule", "constant"}, {"peak", 1e20}, {"warm_up_steps", 1}, {"floor", nullptr}}},
               {"optimiser", {{"weight_decay", 0}}},
               {"data", {{"validation_share", 0}}},
               {"record", {{"evaluate_every", 0}}}});
  train::RunOptions options;
  options.device = on_blocks();
  options.device_name = "simt";
  const train::RunResult first = train::train(config, options);
  ASSERT_EQ(first.end, train::RunEnd::kDiverged);
  for (const char* part : {"step 3", "micro-batch 0", "layer ", "tensor '"})
    EXPECT_NE(first.message.find(part), std::string::npos) << first.message;
  options.resume_from = config.output + "/checkpoints/before-failure-000000002.h5";
  EXPECT_EQ(train::train(config, options).message, first.message);
}

TEST(TrainerDevice, WhatItDoesNotHaveIsSaid) {
  const testing::TempDir folder;
  const auto message = [&](const nlohmann::json& changes) -> std::string {
    try {
      const train::Trainer trainer(config_of(folder, changes), on_blocks());
    } catch (const core::Error& error) {
      return error.kind() == core::ErrorKind::kInput ? error.what() : "another kind of error";
    }
    return "no error";
  };
  EXPECT_EQ(message({{"ema_decay", 0.9}}),
            "ema_decay: found an average of the weights, expected 0 on a device; --device cpu has it");
  EXPECT_EQ(message({{"balance", {{"auxiliary_losses", true}}}}),
            "balance.auxiliary_losses: found true with losses in the model, expected false on a device; --device cpu "
            "has it");
  EXPECT_EQ(message({{"numerics", "fp8-h800"}}),
            "the device path: numerics 'fp8-h800' with gradients, expected fp32 or bf16; --device cpu has them");
}

}  // namespace
}  // namespace lastbit::device

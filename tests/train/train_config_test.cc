#include "train/train_config.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "train/small_run.h"

namespace lastbit::train {
namespace {

std::string refusal(const testing::TempDir& folder, const nlohmann::json& changes) {
  try {
    (void)small_config(folder, changes);
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  return "";
}

TEST(TrainConfig, MeasuresTheRunByItsRamp) {
  const testing::TempDir folder;
  // Sequences a step: 2 at 0 tokens, 2 + floor(2 * 64 / 100 / 2) * 2 = 2 at 64, 4 from 100 on.
  const TrainConfig by_steps = small_config(folder);
  EXPECT_EQ(by_steps.total_steps, 6);
  EXPECT_EQ(by_steps.total_tokens, (2 + 2 + 4 * 4) * 32);
  const TrainConfig by_tokens = small_config(folder, {{"steps", nullptr}, {"tokens", 200}});
  EXPECT_EQ(by_tokens.total_steps, 3);
  EXPECT_EQ(by_tokens.total_tokens, 8 * 32);
}

TEST(TrainConfig, ScalesTheV3ScheduleToTheRun) {
  const testing::TempDir folder;
  const TrainConfig config =
      small_config(folder, {{"learning_rate", {{"schedule", "v3"}, {"peak", 0.02}, {"warm_up_steps", 1}}}});
  const auto& schedule = std::get<V3Schedule>(config.learning_rate);
  EXPECT_DOUBLE_EQ(schedule.total_tokens(), static_cast<double>(config.total_tokens));
  EXPECT_DOUBLE_EQ(schedule.floor, 0.002);
}

TEST(TrainConfig, RefusesWithTheKey) {
  const testing::TempDir folder;
  EXPECT_NE(refusal(folder, {{"optimizer", {{"beta1", 0.5}}}}).find("'optimizer'"), std::string::npos);
  EXPECT_NE(refusal(folder, {{"batch", {{"micro_sequences", 3}}}}).find("micro_sequences"), std::string::npos);
  EXPECT_NE(refusal(folder, {{"tokens", 5}}).find("both 'steps' and 'tokens'"), std::string::npos);
  EXPECT_NE(refusal(folder, {{"data", {{"text", {"none.txt"}}}}}).find("none.txt"), std::string::npos);
  EXPECT_NE(refusal(folder, {{"data", {{"shards", "folder"}}}}).find("both data.text and data.shards"),
            std::string::npos);
  EXPECT_NE(refusal(folder, {{"optimiser", {{"beta1", 1.5}}}}).find("optimiser.beta1"), std::string::npos);
  EXPECT_NE(refusal(folder, {{"record", {{"keep", 1}}}}).find("record.keep"), std::string::npos);
  EXPECT_EQ(refusal(folder, {{"record", {{"checkpoints_kept", 1}}}}), "");
}

TEST(TrainConfig, PresetsAreWholeButForWhatTheUserBrings) {
  EXPECT_EQ(train_presets(), (std::vector<std::string>{"base", "embedded", "micro", "small", "study", "tiny"}));
  const testing::TempDir folder;
  const TrainConfig micro = load_train_config("micro", {"learning_rate.peak=1e-4", "seed=9"}, folder.file("run"));
  EXPECT_EQ(micro.seed, 9U);
  EXPECT_EQ(std::get<V3Schedule>(micro.learning_rate).peak, 1e-4);
  EXPECT_THROW((void)load_train_config("micro", {}, ""), core::Error);
  EXPECT_THROW((void)load_train_config("mikro", {}, folder.file("run")), core::Error);
  EXPECT_THROW((void)load_train_config("micro", {"nothing"}, folder.file("run")), core::Error);
}

TEST(TrainConfig, RecipeIsWhatDecidesTheBits) {
  const testing::TempDir folder;
  const nlohmann::json base = recipe(small_config(folder));
  EXPECT_EQ(base, recipe(small_config(folder, {{"output", "elsewhere"}, {"record", {{"evaluate_every", 0}}}})));
  EXPECT_NE(base, recipe(small_config(folder, {{"seed", 4}})));
}

}  // namespace
}  // namespace lastbit::train

#include "train/study.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"
#include "train/small_run.h"

namespace lastbit::train {
namespace {

TEST(Study, EveryOneThatComesWithLastbitIsWhole) {
  ASSERT_FALSE(study_names().empty());
  const testing::TempDir folder;
  for (const std::string& name : study_names()) {
    const Study study = load_study(name);
    EXPECT_GE(study.variants.size(), 2U) << name;
    for (const std::string& scale : study_scales())
      for (const StudyVariant& variant : study.variants) {
        std::vector<std::string> settings = settings_of_scale(scale);
        settings.insert(settings.end(), variant.settings.begin(), variant.settings.end());
        EXPECT_GT(load_train_config(study.base, settings, folder.file("run")).total_steps, 0) << variant.name << scale;
      }
  }
  EXPECT_THROW((void)load_study("fp9"), core::Error);
  EXPECT_THROW((void)settings_of_scale("huge"), core::Error);
}

TEST(Study, RunsItsVariantsAndHoldsTheClaims) {
  const testing::TempDir folder;
  (void)small_run(folder);  // writes the text
  Study study{"s", "Title", "Question?", "study", "a", {{"a", {}}, {"b", {"learning_rate.peak=0"}}}, {}};
  study.variants.push_back({"c", {"learning_rate.peak=0", "balance.bias_rate=0"}, "a"});
  study.claims = {{"b", "relative_difference", 0.0, true, "nothing is learned without a rate"},
                  {"a", "max_violation", 1e-9, false, "an untrained router is even"}};
  StudyOptions options;
  options.output = folder.path();
  options.settings = {fmt::format("data.text=[\"{}\"]", folder.file("text.jsonl")),
                      "tokens=2000",
                      "data.sequence_tokens=32",
                      "data.validation_share=0.2",
                      "batch.sequences=2",
                      "batch.micro_sequences=2",
                      "numerics=fp32",
                      "record.evaluate_every=10",
                      "learning_rate.warm_up_steps=1"};
  const nlohmann::json results = run_study(study, options);
  const nlohmann::json& b = results.at("results").at("b");
  EXPECT_EQ(b.at("steps"), 32);
  EXPECT_GT(b.at("relative_difference"), 0);
  // What stays as it was when it started from the other's weights.
  EXPECT_EQ(results.at("results").at("c").at("validation_loss"), results.at("results").at("a").at("validation_loss"));
  EXPECT_TRUE(results.at("claims").at(0).at("holds"));
  EXPECT_FALSE(results.at("claims").at(1).at("holds"));
  const std::string text = testing::read_file(folder.file("README.md"));
  EXPECT_NE(text.find("| b | "), std::string::npos);
  EXPECT_NE(text.find("it does not hold at this size"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(folder.file("loss.svg")));
  // A finished study is not run again.
  EXPECT_EQ(run_study(study, options).at("results").at("b").at("loss"), b.at("loss"));
}

}  // namespace
}  // namespace lastbit::train

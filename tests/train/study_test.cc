#include "train/study.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
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

// Of the text that small_run() has written.
StudyOptions small_study(const testing::TempDir& folder, int tokens) {
  StudyOptions options;
  options.output = folder.path();
  options.settings = {fmt::format("data.text=[\"{}\"]", folder.file("text.jsonl")),
                      fmt::format("tokens={}", tokens),
                      "data.sequence_tokens=32",
                      "data.validation_share=0.2",
                      "batch.sequences=2",
                      "batch.micro_sequences=2",
                      "numerics=fp32",
                      "record.evaluate_every=10",
                      "learning_rate.warm_up_steps=1"};
  return options;
}

TEST(Study, RunsItsVariantsAndHoldsTheClaims) {
  const testing::TempDir folder;
  (void)small_run(folder);  // writes the text
  Study study{"s", "Title", "Question?", "study", "a", {{"a", {}}, {"b", {"learning_rate.peak=0"}}}, {}};
  study.variants.push_back({"c", {"learning_rate.peak=0", "balance.bias_rate=0"}, "a"});
  study.claims = {{"b", "relative_difference", 0.0, true, "nothing is learned without a rate"},
                  {"a", "max_violation", 1e-9, false, "an untrained router is even"}};
  const StudyOptions options = small_study(folder, 2000);
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
  EXPECT_TRUE(std::filesystem::exists(folder.file("difference.svg")));
  // A finished study is not run again.
  EXPECT_EQ(run_study(study, options).at("results").at("b").at("loss"), b.at("loss"));
}

TEST(Study, OfSeveralSeedsGivesMeansAndTheirError) {
  const testing::TempDir folder;
  (void)small_run(folder);
  Study study{"s", "Title", "Question?", "study", "a", {{"a", {}}, {"b", {"learning_rate.peak=1e-2"}}}, {}};
  StudyOptions options = small_study(folder, 600);
  options.seeds = {3, 5};
  study.claims = {{"b", "relative_difference", 1e9, false, "far"}, {"b", "relative_difference", 1e-9, false, "near"}};
  const nlohmann::json results = run_study(study, options);
  const nlohmann::json& b = results.at("results").at("b");
  ASSERT_EQ(b.at("by_seed").size(), 2);
  const auto difference = [&](std::size_t i) { return b.at("by_seed").at(i).at("relative_difference").get<double>(); };
  EXPECT_NE(difference(0), difference(1));
  EXPECT_DOUBLE_EQ(b.at("relative_difference"), (difference(0) + difference(1)) / 2);
  EXPECT_DOUBLE_EQ(b.at("relative_difference_error"), std::abs(difference(0) - difference(1)) / 2);
  EXPECT_EQ(b.at("by_seed").at(1).at("seed"), 5);
  EXPECT_TRUE(std::filesystem::exists(folder.file("seed-5/b/metrics.jsonl")));
  EXPECT_NE(testing::read_file(folder.file("README.md")).find("| 5 | +0.000 |"), std::string::npos);
  EXPECT_NE(testing::read_file(folder.file("README.md")).find("it holds at this size"), std::string::npos);
  nlohmann::json wide = results;  // the same with an error that spans the bound
  wide["results"]["b"]["relative_difference_error"] = 1.0;
  EXPECT_NE(study_text(wide).find("cannot tell whether it holds"), std::string::npos);

  // Each seed's difference is that of a study of that seed alone.
  options.seeds = {5};
  EXPECT_EQ(run_study(study, options).at("results").at("b").at("relative_difference"), difference(1));
  options.seeds = {5, 5};
  EXPECT_THROW((void)run_study(study, options), core::Error);
}

}  // namespace
}  // namespace lastbit::train

// Loads of experts as an input: by layer, and token by token.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "core/error.h"
#include "model/config_file.h"
#include "sim/train/forecast.h"
#include "sim/train/routing_load.h"
#include "sim/workload/expert_load.h"
#include "sim/workload/token_routing.h"
#include "support/shared.h"

namespace lastbit::sim::train {
namespace {

ForecastRequest v3() {
  ForecastRequest request;
  request.model = "deepseek-v3";
  request.cluster = "h800-2048";
  request.job = "v3-pretrain";
  request.samples = 0;
  return request;
}

TEST(RoutingLoad, EvenLoadsAreTheForecastWithoutThem) {
  ForecastRequest request = v3();
  const double without = forecast_training(request).main().step_s;
  request.load = "uniform";
  EXPECT_NEAR(forecast_training(request).main().step_s, without, 1e-9);
}

TEST(RoutingLoad, UnevenLoadsLengthenTheStepAndFillMemory) {
  ForecastRequest request = v3();
  const Forecast even = forecast_training(request);
  request.load = "zipf:0.2";
  request.force = true;
  const Forecast uneven = forecast_training(request);
  ASSERT_EQ(uneven.job.layer_load_factors.size(), 59u);
  EXPECT_GT(*std::min_element(uneven.job.layer_load_factors.begin(), uneven.job.layer_load_factors.end()), 1);
  EXPECT_GT(uneven.main().step_s, even.main().step_s);
  EXPECT_GT(uneven.main().memory.peak().peak_bytes, even.main().memory.peak().peak_bytes);
}

TEST(RoutingLoad, AFilesLayersAreStretchedOverTheModels) {
  const testing::TempDir folder;
  std::ofstream(folder.file("loads.json")) << "[[1,1,1,1,1,1,1,1],[8,1,1,1,1,1,1,1]]";
  ForecastRequest request = v3();
  request.load = folder.file("loads.json");
  request.force = true;
  const std::vector<double> factors = forecast_training(request).job.layer_load_factors;
  EXPECT_NEAR(factors.front(), 1, 1e-9);
  EXPECT_GT(factors.back(), 2);
  request.load = "zipf:many";
  EXPECT_THROW((void)forecast_training(request), core::Error);
}

std::vector<double> factors_of(const std::string& json) {
  const testing::TempDir folder;
  std::ofstream(folder.file("loads.json")) << json;
  const Job job = load_job("v3-pretrain");
  return layer_load_factors(model::load_model_config("deepseek-v3"), job.layout, cluster::load_cluster("h800-2048"),
                            folder.file("loads.json"), 1);
}

std::string refusal_of(const std::string& json) {
  try {
    (void)factors_of(json);
  } catch (const core::Error& error) {
    EXPECT_EQ(core::exit_code(error.kind()), 2);
    return error.what();
  }
  return "";
}

std::string equal_loads(int experts, const char* load) {
  std::string text = "[";
  for (int expert = 0; expert < experts; ++expert) text += (expert > 0 ? "," : "") + std::string(load);
  return text + "]";
}

// V3 has 8 groups: 4 experts have no such groups and are cut in one. With 64 parts each over 64 ranks of 4 experts,
// the first expert of each rank is a part of expert 0, and so on: every rank has the mean.
TEST(RoutingLoad, FewerExpertsThanTheModelHasGroupsAreOneGroup) {
  for (const double factor : factors_of("[1,2,3,4]")) EXPECT_NEAR(factor, 1, 1e-12);
}

TEST(RoutingLoad, GroupsOfAFileDivideItsExperts) {
  for (const char* wrong : {"0", "-4", "3", "32"}) {
    const std::string refusal = refusal_of("{\"weight\":" + equal_loads(16, "1") + ",\"num_groups\":" + wrong + "}");
    EXPECT_NE(refusal.find("loads.json: key 'num_groups': found " + std::string(wrong)), std::string::npos) << refusal;
  }
  EXPECT_EQ(refusal_of("{\"weight\":" + equal_loads(16, "1") + ",\"num_groups\":4}"), "");
}

TEST(RoutingLoad, LoadsThatAreAllZeroAreNoBalance) {
  EXPECT_NE(refusal_of(equal_loads(256, "0")).find("layer 0: all loads are 0"), std::string::npos);
  EXPECT_NE(refusal_of("[" + equal_loads(8, "1") + "," + equal_loads(8, "0") + "]").find("layer 1: all loads are 0"),
            std::string::npos);
}

TEST(RoutingLoad, AFilesExpertsDivideTheModelsOrAreAMultiple) {
  EXPECT_NE(refusal_of(equal_loads(300, "1")).find("loads of 300 experts, expected as many as the model's 256"),
            std::string::npos);
  for (const double factor : factors_of(equal_loads(512, "3"))) EXPECT_NEAR(factor, 1, 1e-12);
}

// A trace whose tokens choose evenly: the ranks one by one take as long as one for all, but for chance.
TEST(GroupReplay, EvenTokensGiveTheFoldedStep) {
  const testing::TempDir folder;
  const std::vector<double> loads = workload::uniform_loads(256);
  const workload::RoutedTokens tokens = workload::draw_tokens(loads, {8, 8, 4}, 1 << 15, 1);
  io::RoutingTrace trace;
  trace.experts = 256;
  trace.top_k = 8;
  trace.groups = 8;
  trace.kept_groups = 4;
  trace.layers = {3};
  const std::vector<std::uint16_t> choices(tokens.choices.begin(), tokens.choices.end());
  io::append_step(trace, 0, choices, true);
  io::save_routing_trace(folder.file("t.h5"), trace);
  ForecastRequest request = v3();
  request.unfold = folder.file("t.h5");
  const Forecast forecast = forecast_training(request);
  ASSERT_TRUE(forecast.replay.has_value());
  EXPECT_EQ(forecast.replay->tokens, 1 << 15);
  EXPECT_EQ(forecast.replay->windows, 1);
  EXPECT_GT(forecast.replay->mean_load_factor, 1);
  EXPECT_LT(forecast.replay->mean_load_factor, 1.1);
  EXPECT_NEAR(forecast.replay->step_s / forecast.main().step_s, 1, 0.03);
  // The same where chunks carry more: gradients reduced beside every micro-batch, layers run again.
  for (const char* more : {"job.layout.zero_stage=2", "job.layout.recompute=full"}) {
    request.settings = {more};
    const Forecast heavier = forecast_training(request);
    EXPECT_NEAR(heavier.replay->step_s / heavier.main().step_s, 1, 0.03) << more;
  }
  // Every GPU's own links, near what the folded forecast says of its pipeline rank.
  const GroupReplay& replay = *forecast.replay;
  ASSERT_EQ(replay.nic_s.size(), 16u);
  for (std::size_t rank = 0; rank < 16; ++rank) {
    ASSERT_EQ(replay.nic_s[rank].size(), 64u);
    const double folded_s = forecast.links[rank][static_cast<std::size_t>(LinkWork::kNicExperts)];
    for (const double link_s : replay.nic_s[rank]) EXPECT_NEAR(link_s / folded_s, 1, 0.05);
  }
}

}  // namespace
}  // namespace lastbit::sim::train

// How sure a forecast is, what it is made of, and what follows for plans.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/parallel.h"
#include "sim/train/forecast.h"
#include "sim/train/forecast_page.h"
#include "support/shared.h"

namespace lastbit::sim::train {
namespace {

ForecastRequest v3(int samples) {
  ForecastRequest request;
  request.model = "deepseek-v3";
  request.cluster = "h800-2048";
  request.job = "v3-pretrain";
  request.samples = samples;
  return request;
}

TEST(Confidence, ThePublishedStepLiesBetweenP5AndP95) {
  const Forecast forecast = forecast_training(v3(64));
  const Uncertainty& u = forecast.uncertainty;
  EXPECT_EQ(u.samples, 64);
  EXPECT_LT(u.p5_s, u.p50_s);
  EXPECT_LT(u.p50_s, u.p95_s);
  const double published = forecast.published.at("step_s").value;
  EXPECT_LT(u.p5_s, published);
  EXPECT_GT(u.p95_s, published);
}

// Hours and dollars of one phase are its step's; given hours are not drawn.
TEST(Confidence, TheIntervalStandsBesideTheFigures) {
  const Forecast forecast = forecast_training(v3(8));
  const nlohmann::json out = to_json(forecast);
  const double ratio = forecast.uncertainty.p95_s / forecast.main().step_s;
  EXPECT_NEAR(out["uncertainty"]["gpu_hours_p95"].get<double>() / forecast.gpu_hours_total, ratio, 1e-12);
  EXPECT_NEAR(out["uncertainty"]["usd_p95"].get<double>() / forecast.usd_total, ratio, 1e-12);
  const auto intervals = [](const std::string& text) {
    int found = 0;
    for (std::size_t at = text.find("P5 to P95"); at != std::string::npos; at = text.find("P5 to P95", at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(intervals(to_text(forecast)), 3);  // step, GPU-hours, cost
  EXPECT_LT(forecast.main().step_s, forecast.uncertainty.p5_s);
  EXPECT_NE(to_text(forecast).find("lies below P5"), std::string::npos);
  EXPECT_EQ(intervals(to_text(forecast_training(v3(0)))), 0);
  ForecastRequest request = v3(0);
  request.job = "v3-full";
  const Forecast whole = forecast_training(request);
  EXPECT_NEAR(whole.gpu_hours_at(2 * whole.main().step_s), 2 * whole.gpu_hours_total - 5000, 1e-6);
}

TEST(Confidence, DoesNotDependOnTheNumberOfThreads) {
  core::set_num_threads(1);
  const std::string one = to_json(forecast_training(v3(16))).dump();
  core::set_num_threads(3);
  const std::string three = to_json(forecast_training(v3(16))).dump();
  core::set_num_threads(0);
  EXPECT_EQ(one, three);
}

TEST(Confidence, WithoutRangesThereIsAPointAlone) {
  ForecastRequest request = v3(8);
  const Job job = load_job("v3-pretrain");
  for (const cost::Assumption& entry : job.assumptions.entries()) {
    if (entry.range) {
      request.settings.push_back("job.assumptions." + entry.name + ".range=[" + std::to_string(entry.value) + "," +
                                 std::to_string(entry.value) + "]");
    }
  }
  EXPECT_EQ(forecast_training(request).uncertainty.samples, 0);
}

TEST(Confidence, ARangeRunsFromLowToHigh) {
  ForecastRequest request = v3(0);
  request.settings = {"job.assumptions.jitter.range=[1.2,1.1]"};
  EXPECT_THROW((void)forecast_training(request), core::Error);
}

TEST(Contributions, EveryCauseAddsAndTheBoundIsBelow) {
  const Forecast forecast = forecast_training(v3(1));
  ASSERT_GE(forecast.contributions.size(), 5u);
  for (const Contribution& entry : forecast.contributions) EXPECT_GT(entry.seconds, 0) << entry.cause;
  EXPECT_LT(forecast.bound_step_s, forecast.main().step_s);
  EXPECT_GT(forecast.bound_step_s, 0.3 * forecast.main().step_s);
}

TEST(Plan, ABudgetPaysForTokensInProportion) {
  ForecastRequest request = v3(0);
  request.budget_usd = 1e6;
  const Forecast forecast = forecast_training(request);
  EXPECT_NEAR(forecast.budget_tokens, 14.8e12 * 1e6 / forecast.usd_total, 1e6);
  EXPECT_EQ(tokens_within_budget(10, 2, 100, 1, 1), 0);
}

TEST(Plan, MoreGpusAreFasterAndNoMoreEfficient) {
  ForecastRequest request = v3(0);
  request.scaling = true;
  request.deadline_days = 120;
  const Forecast forecast = forecast_training(request);
  const ScalingPoint* before = nullptr;
  for (const ScalingPoint& point : forecast.scaling) {
    if (!point.refused.empty()) continue;
    if (before != nullptr) {
      EXPECT_LT(point.step_s, before->step_s);
      EXPECT_LE(point.efficiency, before->efficiency);
    }
    before = &point;
  }
  ASSERT_NE(before, nullptr);
  ASSERT_TRUE(forecast.deadline.has_value());
  EXPECT_EQ(forecast.deadline->gpus, 1024);
}

// Where a GPU's memory does not suffice, or the fabric cannot be built, a plan does not go.
TEST(Plan, RefusesWhatAForecastRefuses) {
  ForecastRequest request;
  request.model = "llama-3.1-405b";
  request.cluster = "h100";
  request.job = "megatron";
  request.samples = 0;
  request.scaling = true;
  request.settings = {"job.layout.tensor=8", "job.layout.pipeline=8", "job.precision.gemm=fp8",
                      "job.phase.0.batch_sequences=512"};
  const Forecast forecast = forecast_training(request);
  ASSERT_FALSE(forecast.scaling.empty());
  EXPECT_NE(forecast.scaling.front().refused.find("memory"), std::string::npos) << forecast.scaling.front().refused;
  EXPECT_NE(forecast.scaling.back().refused.find("leaves"), std::string::npos) << forecast.scaling.back().refused;
}

TEST(Plan, GivenHoursCountOnEveryNumberOfGpus) {
  ForecastRequest request = v3(0);
  request.job = "v3-full";
  request.scaling = true;
  const Forecast forecast = forecast_training(request);
  int found = 0;
  for (const ScalingPoint& point : forecast.scaling) {
    if (point.gpus != 2048) continue;
    ++found;
    EXPECT_NEAR(point.gpu_hours, forecast.gpu_hours_total, 1e-6);
    EXPECT_NEAR(point.hours, forecast.hours_total, 1e-9);
  }
  EXPECT_EQ(found, 1);
  EXPECT_NEAR(forecast.hours_total * 2048, forecast.gpu_hours_total, 1e-6);
}

TEST(KernelTimes, AFasterTableShortensTheStep) {
  const testing::TempDir folder;
  const std::string path = folder.file("mine.csv");
  std::ofstream(path) << "kernel,n,k,groups,rows,us\ngrouped,4096,7168,4,32768,700\n";
  ForecastRequest request = v3(0);
  const double usual = forecast_training(request).main().step_s;
  request.kernel_times = path;
  EXPECT_LT(forecast_training(request).main().step_s, usual);
}

// Every GEMM in half its time, at its own rows: the forecast falls and counts them as measured; the bound, kernels at
// the GPU's peaks, is what it was.
TEST(KernelTimes, GivenTimesMoveTheForecastAndNotTheBound) {
  std::string rows = "kernel,n,k,groups,rows,us\n";
  std::set<std::string> written;
  const nlohmann::json dump = dump_workload(v3(0));
  for (const nlohmann::json& unit : dump.at("units")) {
    if (!unit.contains("segments")) continue;
    for (const nlohmann::json& segment : unit.at("segments")) {
      for (const nlohmann::json& op : segment) {
        if (!op.at("shape").contains("n")) continue;
        const nlohmann::json& shape = op.at("shape");
        const std::string key = op.at("kind").get<std::string>() + "," + shape.at("n").dump() + "," +
                                shape.at("k").dump() + "," + shape.at("groups").dump() + "," + shape.at("rows").dump();
        if (!written.insert(key).second) continue;
        rows += key + "," + std::to_string(0.5e6 * op.at("seconds_beside_communication").get<double>()) + "\n";
      }
    }
  }
  const testing::TempDir folder;
  std::ofstream(folder.file("half.csv")) << rows;
  const Forecast usual = forecast_training(v3(1));
  ForecastRequest request = v3(1);
  request.kernel_times = folder.file("half.csv");
  const Forecast half = forecast_training(request);
  EXPECT_LT(half.main().step_s, 0.9 * usual.main().step_s);  // transfers are what they were
  EXPECT_EQ(half.bound_step_s, usual.bound_step_s);
  EXPECT_GE(half.main().census.operators[0], usual.main().census.operators[0]);
}

TEST(KernelTimes, ALineThatNothingTakesIsRefused) {
  const testing::TempDir folder;
  ForecastRequest request = v3(0);
  request.kernel_times = folder.file("mine.csv");
  const auto refused = [&](const std::string& row) -> std::string {
    std::ofstream(request.kernel_times) << "kernel,n,k,groups,rows,us\n" << row << '\n';
    try {
      (void)forecast_training(request);
    } catch (const core::Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(refused("attention outptu,0,0,0,4096,5000").find("mine.csv:2: no operator"), std::string::npos);
  EXPECT_NE(refused("dense,7168,16385,1,4096,900").find("mine.csv:2: no operator"), std::string::npos);
  EXPECT_EQ(refused("attention output,0,0,0,4096,5000"), "");
  // Its forward alone takes the 5 ms.
  const nlohmann::json dump = dump_workload(request);
  int taken = 0;
  for (const nlohmann::json& segment : dump.at("units").at("moe_layer").at("segments")) {
    for (const nlohmann::json& op : segment) taken += op.at("seconds").get<double>() == 5e-3 ? 1 : 0;
  }
  EXPECT_EQ(taken, 1);
  // From 8 rows to 4096 is no measurement.
  const int measured = forecast_training(v3(0)).main().census.operators[0];
  EXPECT_EQ(refused("attention output,0,0,0,8,5"), "");
  EXPECT_EQ(forecast_training(request).main().census.operators[0], measured - 2);  // in the dense and the MoE layer
}

TEST(Workload, TheDumpAddsUpToTheLayersWork) {
  const nlohmann::json dump = dump_workload(v3(0));
  EXPECT_EQ(dump.at("stages").size(), 16u);
  const nlohmann::json& layer = dump.at("units").at("moe_layer");
  double sum = 0;
  for (const auto& [segment, operators] : layer.at("segments").items()) {
    for (const nlohmann::json& op : operators) {
      sum += op.at("model_flops").get<double>();
      EXPECT_TRUE(std::isfinite(op.at("seconds").get<double>()));
    }
  }
  EXPECT_DOUBLE_EQ(sum, layer.at("model_flops").get<double>());
  EXPECT_NEAR(4 * sum / 1e12, 65.8, 0.05);  // the published chunk of 4 layers
  EXPECT_EQ(layer.at("messages").size(), 4u);
}

TEST(ForecastPage, IsSelfContainedAndShowsTwoRuns) {
  const Forecast one = forecast_training(v3(2));
  ForecastRequest changed = v3(2);
  changed.settings = {"cluster.network.latency=100 us"};
  const Forecast two = forecast_training(changed);
  const std::string html = to_page({&one, &two});
  for (const char* forbidden : {"<script", "<link", "url(", "src="}) {
    EXPECT_EQ(html.find(forbidden), std::string::npos) << forbidden;
  }
  EXPECT_NE(html.find("cluster.network.latency=100 us"), std::string::npos);
  EXPECT_NE(html.find("published 19.93"), std::string::npos);
  EXPECT_EQ(html.find("nan"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::sim::train

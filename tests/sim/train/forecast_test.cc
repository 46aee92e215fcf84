#include "sim/train/forecast.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/config_file.h"
#include "sim/train/forecast_page.h"
#include "sim/train/phase_lines.h"

namespace lastbit::sim::train {
namespace {

Forecast forecast(const std::vector<std::string>& settings = {}, const std::string& job = "v3-pretrain",
                  const std::string& schedule = "") {
  ForecastRequest request;
  request.model = "deepseek-v3";
  request.cluster = "h800-2048";
  request.job = job;
  request.schedule = schedule;
  request.settings = settings;
  request.samples = 0;
  return forecast_training(request);
}

double sum(const Breakdown& b) {
  return b.forward_s + b.backward_s + b.weight_s + b.fused_s + b.bubble_s + b.optimizer_s;
}

TEST(Forecast, PartsAddUpToTheStep) {
  for (const char* schedule : {"dualpipe", "1f1b", "zb1p"}) {
    const Forecast result = forecast({}, "v3-pretrain", schedule);
    EXPECT_NEAR(sum(result.main().first), result.main().step_s, 1e-9) << schedule;
    EXPECT_NEAR(sum(result.main().mean), result.main().step_s, 1e-9) << schedule;
    EXPECT_GT(result.main().first.exposed_comm_s, 0) << schedule;
    EXPECT_LT(result.main().first.exposed_comm_s, result.main().step_s) << schedule;
  }
}

TEST(Forecast, RatesFollowFromTheStep) {
  const Forecast result = forecast();
  const double tokens = 15360.0 * 4096;
  EXPECT_NEAR(result.tokens_per_day, tokens / result.main().step_s * 86400, 1);
  EXPECT_NEAR(result.tokens_per_gpu_s, tokens / result.main().step_s / 2048, 1e-9);
  EXPECT_NEAR(result.tflops_causal, result.tokens_per_gpu_s * result.flops_per_token_causal / 1e12, 1e-9);
  EXPECT_NEAR(result.mfu_causal, result.tflops_causal / 989, 1e-12);
  EXPECT_NEAR(result.mfu_noncausal / result.mfu_causal,
              result.flops_per_token_noncausal / result.flops_per_token_causal, 1e-12);
  EXPECT_NEAR(result.gpu_hours_total, 14.8e12 / tokens * result.main().step_s / 3600 * 2048, 1e-3);
  EXPECT_DOUBLE_EQ(result.usd_total, 2 * result.gpu_hours_total);
}

// What a blind model of this run gives; not a tolerance around the published 19.926 s.
TEST(Forecast, TheStepOfTheTrainingRunIsAFirstPrinciplesOne) {
  const double step_s = forecast().main().step_s;
  EXPECT_GT(step_s, 17.5);
  EXPECT_LT(step_s, 19.7);
}

TEST(Forecast, WorseHardwareIsNeverFaster) {
  const double usual = forecast().main().step_s;
  for (const char* worse :
       {"cluster.network.nic_attainable=30 GB/s", "cluster.node.nvlink_attainable=60 GB/s",
        "cluster.gpu.fp8=1500 TFLOPS", "cluster.gpu.bf16=600 TFLOPS", "cluster.gpu.hbm_bandwidth=2 TB/s",
        "cluster.network.latency=100 us", "assume.routing_load_factor=1.2", "assume.expert_sync=1000",
        "assume.bf16_gemm_efficiency=0.5"}) {
    EXPECT_GT(forecast({worse}).main().step_s, usual) << worse;
  }
  EXPECT_GT(forecast({"cluster.network.nic_attainable=22.5 GB/s"}).main().step_s, 1.2 * usual);
}

Forecast megatron(const std::string& cluster, const std::vector<std::string>& settings, int samples = 0) {
  ForecastRequest request;
  request.model = "llama-3-70b";
  request.cluster = cluster;
  request.job = "megatron";
  request.settings = settings;
  request.settings.insert(request.settings.end(), {"job.layout.tensor=8", "job.layout.pipeline=2"});
  request.samples = samples;
  return forecast_training(request);
}

// What is printed is what is used: a calibration's efficiencies by default, with ranges about them, a user's own
// before.
TEST(Forecast, ACalibrationGivesWayToTheUser) {
  const Forecast usual = megatron("b200", {}, 4);
  const double found = usual.job.assumptions["bf16_gemm_efficiency"];
  EXPECT_LT(found, 0.6);
  EXPECT_GT(megatron("b200", {"assume.bf16_gemm_efficiency=0.3"}).main().step_s, 1.2 * usual.main().step_s);
  EXPECT_LT(megatron("b200", {"assume.bf16_gemm_efficiency=0.9"}).main().step_s, usual.main().step_s);
  bool moved = false;
  for (const Uncertainty::Swing& swing : usual.uncertainty.swings) {
    if (swing.name != "bf16_gemm_efficiency") continue;
    EXPECT_LT(swing.low, found);
    EXPECT_GT(swing.high, found);
    moved = swing.step_at_low_s > swing.step_at_high_s;
  }
  EXPECT_TRUE(moved);
}

// FP8 may not be faster, against BF16, than the peaks are.
TEST(Forecast, FormatsKeepTheRatioOfTheirPeaks) {
  const double bf16 = megatron("b200", {}).main().step_s;
  const double fp8 = megatron("b200", {"job.precision.gemm=fp8"}).main().step_s;
  EXPECT_LT(fp8, bf16);
  EXPECT_GT(fp8, bf16 / 2);
}

// The V3 job runs the measured kernels on the same silicon too, Megatron's runs its own.
TEST(Forecast, TablesBelongToTheKernelsOfAJob) {
  ForecastRequest request;
  request.model = "deepseek-v3";
  request.cluster = "h100";
  request.job = "v3-pretrain";
  request.settings = {"cluster.nodes=256"};
  request.samples = 0;
  EXPECT_NEAR(forecast_training(request).main().step_s / forecast().main().step_s, 1, 0.05);
  EXPECT_TRUE(megatron("h800-2048", {"job.phase.0.batch_sequences=1024"}).calibration_sources.empty());
}

// 16 GPUs, ranks of two: stages 0 to 3 share a node, 3 and 4 do not.
TEST(Forecast, HopsBetweenNodesAreOverTheNic) {
  const cost::CostModel cost(cluster::load_cluster("h100"), {}, load_job("megatron").assumptions);
  const Job job = load_job("megatron", cluster::parse_overrides({"job.layout.pipeline=8"}));
  Groups groups;
  groups.world = 16;
  const model::ModelConfig model = model::load_model_config("llama-3-70b");
  const workload::LayerSetting setting = layer_setting(model, job, cost, job.phases.front());
  const auto hop = [&](int from, int to) { return hop_time(cost, job, groups, setting, from, to); };
  EXPECT_EQ(hop(0, 1), hop(2, 3));
  EXPECT_GT(hop(3, 4), 3 * hop(0, 1));
  EXPECT_EQ(hop(7, 0), hop(4, 3));
  EXPECT_EQ(slowest_hop(cost, job, groups, setting), hop(3, 4));
}

// Every kernel and transfer at peak: the step cannot beat the model's FLOPs at the FP8 peak, and comes near them.
TEST(Forecast, PerfectKernelsGiveTheRoofline) {
  const Forecast bound = forecast({"assume.perfect_kernels=1"});
  EXPECT_LT(bound.main().step_s, forecast().main().step_s);
  EXPECT_GT(bound.main().step_s, 15360.0 * 4096 / 2048 * bound.flops_per_token_causal / 1979e12);
}

TEST(Forecast, TheWholeRunIsTheSumOfItsPhases) {
  const Forecast result = forecast({}, "v3-full");
  const nlohmann::json out = to_json(result);
  double hours = 0;
  for (const char* phase : {"pretraining", "context_extension", "post_training"}) {
    ASSERT_TRUE(out["phases"].contains(phase));
    hours += out["phases"][phase]["gpu_hours"].get<double>();
  }
  EXPECT_NEAR(hours, result.gpu_hours_total, 1e-6);
  EXPECT_FALSE(out["phases"]["post_training"]["predicted"].get<bool>());
  EXPECT_TRUE(out["phases"]["context_extension"]["predicted"].get<bool>());
  // Post-training is given, so no error is stated for it.
  EXPECT_FALSE(out["published"].contains("phases.post_training.gpu_hours"));
  EXPECT_TRUE(out["published"].contains("phases.context_extension.gpu_hours"));
  // A token of the long sequences costs more than one of the base length.
  const double base_rate = result.main().gpu_hours / result.main().phase.tokens;
  EXPECT_GT(out["phases"]["context_extension"]["gpu_hours"].get<double>() / 125.8e9, 3 * base_rate);
}

// Each phase with its own layout, and what of it is assumed, by name.
TEST(Forecast, PhasesArePrintedOneByOne) {
  const Forecast result = forecast({}, "v3-full");
  const std::vector<PhaseLine> lines = phase_lines(result);
  ASSERT_EQ(lines.size(), 8u);
  const PhaseLine& extension = lines[5];
  EXPECT_EQ(extension.name, "context extension");
  EXPECT_EQ(extension.sequence_tokens, "32,768");
  EXPECT_EQ(extension.batch_sequences, "1,920");
  EXPECT_EQ(extension.context_parallel, "8");
  EXPECT_EQ(extension.data_parallel, "16");
  EXPECT_EQ(extension.steps, "1,000");
  EXPECT_EQ(extension.note, "assumed layout");
  EXPECT_EQ(lines[4].note, "");
  EXPECT_EQ(lines[7].note, "given, not predicted");
  EXPECT_EQ(lines[7].schedule, "");
  const std::string text = to_text(result);
  EXPECT_NE(text.find("assumed layout"), std::string::npos);
  EXPECT_NE(to_page({&result}).find("assumed layout"), std::string::npos);
  EXPECT_EQ(to_json(result)["phases"]["context_extension"]["parts"][0]["assumed"], "layout");
  EXPECT_EQ(to_text(forecast()).find("one by one"), std::string::npos);
}

// The published profile is of V3's layer at 4096 tokens and EP64: nothing else is set beside it.
TEST(Forecast, TheProfiledChunkIsNoOtherModelsOrLayouts) {
  EXPECT_NE(to_text(forecast()).find("in the profile"), std::string::npos);
  const auto unlike = [](const char* model, const std::vector<std::string>& settings) {
    ForecastRequest request;
    request.model = model;
    request.cluster = "h800-2048";
    request.job = "v3-pretrain";
    request.settings = settings;
    request.samples = 0;
    request.force = true;
    const Forecast result = forecast_training(request);
    EXPECT_FALSE(to_json(result)["calibration"].contains("profile_chunk_model_s")) << model;
    EXPECT_EQ(to_text(result).find("in the profile"), std::string::npos) << model;
  };
  unlike("deepseek-v3", {"job.layout.micro_batch_sequences=2"});
  unlike("deepseek-v3", {"job.layout.expert=32"});
  unlike("deepseek-v3", {"cluster.gpu.bf16=600 TFLOPS"});
  unlike("deepseek-v2", {"job.layout.expert=32", "job.layout.stage_layers=[4,4,4,4,4,4,4,4,4,4,4,4,4,4,3,1]"});
}

TEST(Forecast, PublishedFiguresBelongToTheUnchangedRun) {
  EXPECT_EQ(forecast().published.at("step_s").value, 19.926);
  EXPECT_EQ(forecast({"assume.routing_load_factor=1.1"}).published.count("step_s"), 1u);
  EXPECT_TRUE(forecast({"cluster.nodes=512"}).published.empty());
  EXPECT_TRUE(forecast({}, "v3-pretrain", "1f1b").published.empty());
}

TEST(Forecast, TheErrorIsPrinted) {
  const Forecast result = forecast();
  const std::string text = to_text(result);
  EXPECT_NE(text.find("19.926"), std::string::npos);
  EXPECT_NE(text.find(" %"), std::string::npos);
  for (const cost::Assumption& entry : result.job.assumptions.entries()) {
    EXPECT_NE(text.find(entry.name), std::string::npos) << entry.name;
  }
}

TEST(Forecast, IsTheSameEveryTime) { EXPECT_EQ(to_json(forecast()).dump(), to_json(forecast()).dump()); }

TEST(Forecast, DualPipeWantsTwiceAsManyMicroBatchesAsRanks) {
  try {
    (void)forecast({"job.phase.0.batch_sequences=3072"});
    FAIL() << "24 micro-batches on 16 ranks were accepted";
  } catch (const core::Error& error) {
    EXPECT_EQ(core::exit_code(error.kind()), 2);
    EXPECT_NE(std::string(error.what()).find("24"), std::string::npos);
  }
}

// ZeRO-2 counts DualPipe's second copy of every stage, and DualPipeV's two stages a rank are spread: both by the name.
TEST(Forecast, ASpellingOfAScheduleChangesNothing) {
  const auto step_s = [](const char* schedule, const char* where) {
    ForecastRequest request;
    request.model = "deepseek-7b";
    request.cluster = "h800-2048";
    request.job = "megatron";
    request.samples = 0;
    request.settings = {"cluster.nodes=4", "job.layout.pipeline=8", "job.layout.zero_stage=2"};
    if (std::string(where) == "--schedule") {
      request.schedule = schedule;
    } else {
      request.settings.push_back(where + std::string("=") + schedule);
    }
    return forecast_training(request).main().step_s;
  };
  for (const char* where : {"--schedule", "job.layout.schedule"}) {
    EXPECT_EQ(step_s("dual_pipe", where), step_s("dualpipe", where)) << where;
    EXPECT_EQ(step_s("dual_pipe_v", where), step_s("dualpipev", where)) << where;
  }
  EXPECT_EQ(step_s("dual-pipe", "job.phase.0.schedule"), step_s("dualpipe", "job.phase.0.schedule"));
  EXPECT_NE(step_s("1f1b", "--schedule"), step_s("dualpipe", "--schedule"));
}

TEST(Forecast, OtherModelsAndGpusRun) {
  // V2 on the same cluster without measured tables: 60 layers in 15 stages of 4, EP 32.
  ForecastRequest request;
  request.model = "deepseek-v2";
  request.cluster = "h800-2048";
  request.job = "v3-pretrain";
  request.schedule = "1f1b";
  request.settings = {"cluster.calibration=", "job.layout.expert=32",
                      "job.layout.stage_layers=[4,4,4,4,4,4,4,4,4,4,4,4,4,4,3,1]"};
  const Forecast result = forecast_training(request);
  EXPECT_TRUE(std::isfinite(result.main().step_s));
  EXPECT_GT(result.main().step_s, 0);
  EXPECT_LT(result.main().step_s, 30);
}

}  // namespace
}  // namespace lastbit::sim::train

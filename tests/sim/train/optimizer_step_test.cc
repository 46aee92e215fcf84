#include "sim/train/optimizer_step.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/config_file.h"
#include "model/counts.h"
#include "sim/schedule/build.h"

namespace lastbit::sim::train {
namespace {

TEST(StageParameters, AddUpToTheModel) {
  const model::ModelConfig v3 = model::load_model_config("deepseek-v3");
  const Job job = load_job("v3-pretrain");
  double sum = 0;
  for (const StageUnits& units : stage_units(v3, job.layout)) {
    const RankParameters held = stage_parameters(v3, units, job.layout.expert);
    sum += held.replicated + held.experts * job.layout.expert;
  }
  const model::ParameterCounts counts = model::count_parameters(v3);
  const double expected = static_cast<double>(counts.total() + counts.mtp_unique);
  EXPECT_NEAR(sum / expected, 1, 1e-3);
}

// MTP's layer has experts where no other layer does, or the other way round; its embedding is a copy where the rank
// does not hold the first stage; a tied head is the embedding.
TEST(StageParameters, EndsAreHeldOnceARank) {
  model::ModelConfig v3 = model::load_model_config("deepseek-v3");
  Job job = load_job("v3-pretrain");
  const double table = static_cast<double>(v3.vocab_size) * static_cast<double>(v3.hidden_size);
  const auto last_of = [&](const std::vector<schedule::Placement>& slots) {
    return rank_parameters(v3, job.layout, stage_units(v3, job.layout), slots, 15).replicated;
  };
  const std::vector<schedule::Placement> alone{{.stage = 15}};
  const std::vector<schedule::Placement> both{{.stage = 0}, {.stage = 15}};
  EXPECT_EQ(last_of(alone) - last_of(both), table);
  v3.tie_word_embeddings = true;
  EXPECT_EQ(last_of(alone) - last_of(both), 2 * table);
  v3.first_k_dense_replace = v3.num_hidden_layers;
  EXPECT_TRUE(std::isfinite(last_of(both)));
  v3.first_k_dense_replace = 1000;
  EXPECT_EQ(stage_units(v3, job.layout).back().back().kind, UnitKind::kHead);
  EXPECT_TRUE(std::isfinite(last_of(both)));
}

OptimizerTime time_of(const std::vector<std::string>& settings, const std::string& kind) {
  const auto overrides = cluster::parse_overrides(settings);
  const Job job = load_job("v3-pretrain", overrides);
  const cost::CostModel cost(cluster::load_cluster("h800-2048", overrides), cost::load_calibration("h800"),
                             job.assumptions);
  const model::ModelConfig v3 = model::load_model_config("deepseek-v3");
  schedule::BuildParams params;
  params.ranks = 16;
  params.micro_batches = 120;
  return optimizer_time(cost, v3, job, schedule::build(kind, params), stage_units(v3, job.layout), 128);
}

TEST(OptimizerTime, HoldingTwoStagesCostsMore) {
  EXPECT_GT(time_of({}, "dualpipe").seconds(), time_of({}, "1f1b").seconds());
}

TEST(OptimizerTime, ShardingSavesTheUpdate) {
  EXPECT_LT(time_of({}, "dualpipe").update_s, time_of({"job.layout.zero_stage=0"}, "dualpipe").update_s);
}

TEST(OptimizerTime, FollowsTheFormatsOfItsState) {
  EXPECT_GT(time_of({"job.precision.moments=fp32"}, "dualpipe").update_s, time_of({}, "dualpipe").update_s);
}

TEST(OptimizerTime, FollowsTheNetworkAndTheFormat) {
  const double usual = time_of({}, "dualpipe").seconds();
  EXPECT_GT(time_of({"cluster.network.nic_attainable=20 GB/s"}, "dualpipe").seconds(), usual);
  EXPECT_LT(time_of({"job.precision.gradient_reduction=bf16"}, "dualpipe").seconds(), usual);
  EXPECT_EQ(time_of({"assume.reduction_overlap=1"}, "dualpipe").reduce_s, 0);
}

TEST(ShardTraffic, EveryMicroBatchPaysForShardedParameters) {
  const model::ModelConfig v3 = model::load_model_config("deepseek-v3");
  const auto traffic = [&v3](const std::string& zero) {
    const Job job = load_job("v3-pretrain", cluster::parse_overrides({"job.layout.zero_stage=" + zero}));
    const cost::CostModel cost(cluster::load_cluster("h800-2048"), cost::load_calibration("h800"), job.assumptions);
    return shard_traffic(cost, v3, job, stage_units(v3, job.layout)[5], 128, 2);
  };
  EXPECT_EQ(traffic("1").forward_s + traffic("1").backward_s, 0);
  EXPECT_EQ(traffic("2").forward_s, 0);
  EXPECT_GT(traffic("2").backward_s, 0);
  EXPECT_GT(traffic("3").forward_s, 0);
  EXPECT_NEAR(traffic("3").backward_s, traffic("3").forward_s + traffic("2").backward_s, 1e-12);
}

}  // namespace
}  // namespace lastbit::sim::train

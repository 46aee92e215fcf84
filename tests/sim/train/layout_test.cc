#include "sim/train/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "model/config_file.h"

namespace lastbit::sim::train {
namespace {

std::string refused(const std::vector<std::string>& settings) {
  const auto overrides = cluster::parse_overrides(settings);
  try {
    const Job job = load_job("v3-pretrain", overrides);
    (void)check_layout(model::load_model_config("deepseek-v3"), cluster::load_cluster("h800-2048", overrides), job,
                       job.phases.front());
  } catch (const core::Error& error) {
    EXPECT_EQ(core::exit_code(error.kind()), 2);
    return error.what();
  }
  return "";
}

TEST(Layout, ThePublishedOneFits) {
  const Job job = load_job("v3-pretrain");
  const Groups groups = check_layout(model::load_model_config("deepseek-v3"), cluster::load_cluster("h800-2048"), job,
                                     job.phases.front());
  EXPECT_EQ(groups.world, 2048);
  EXPECT_EQ(groups.data_parallel, 128);
  EXPECT_EQ(groups.micro_batches, 120);
}

TEST(Layout, RefusalsNameTheRule) {
  EXPECT_NE(refused({"job.layout.pipeline=12"}).find("does not divide the 2048 GPUs"), std::string::npos);
  EXPECT_NE(refused({"job.layout.expert=48"}).find("expert 48 does not divide the 128 ranks"), std::string::npos);
  EXPECT_NE(refused({"job.layout.stage_layers.0=5"}).find("add up to 62"), std::string::npos);
  EXPECT_NE(refused({"job.phase.0.batch_sequences=1000"}).find("batch of 1000 sequences"), std::string::npos);
  EXPECT_NE(refused({"job.phase.0.batch_sequences=128000000"}).find("1000000 micro-batches"), std::string::npos);
  EXPECT_NE(refused({"job.precision.communication_sms=132"}).find("leaves no SM"), std::string::npos);
  EXPECT_EQ(refused({"cluster.node.gpus=16", "job.layout.expert=8", "cluster.nodes=128"}), "");
}

TEST(Layout, AStageWithoutLayersIsForStageLayersToSay) {
  const model::ModelConfig model = model::load_model_config("deepseek-7b");  // 30 layers
  const auto check = [&model](std::vector<std::string> settings) {
    settings.insert(settings.end(), {"job.layout.pipeline=32", "job.phase.0.batch_sequences=64"});
    const Job job = load_job("megatron", cluster::parse_overrides(settings));
    (void)check_layout(model, cluster::load_cluster("h800-2048"), job, job.phases.front());
  };
  try {
    check({});
    FAIL() << "32 stages of 30 layers were accepted";
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find("32 x 1 stages a rank = 32 stages, expected at most the model's 30"),
              std::string::npos)
        << error.what();
  }
  std::string listed = "job.layout.stage_layers=[0,0";
  for (int stage = 2; stage < 32; ++stage) listed += ",1";
  EXPECT_NO_THROW(check({listed + "]"}));
}

TEST(Layout, StagesHoldEveryLayerOnce) {
  const model::ModelConfig v3 = model::load_model_config("deepseek-v3");
  const std::vector<StageUnits> stages = stage_units(v3, load_job("v3-pretrain").layout);
  ASSERT_EQ(stages.size(), 16u);
  int dense = 0;
  int moe = 0;
  int heads = 0;
  for (const StageUnits& stage : stages) {
    for (const StageUnit& unit : stage) {
      dense += unit == UnitKind::kDenseLayer ? 1 : 0;
      moe += unit == UnitKind::kMoeLayer ? 1 : 0;
      heads += unit == UnitKind::kHead ? 1 : 0;
    }
  }
  EXPECT_EQ(dense, 3);
  EXPECT_EQ(moe, 58 + 1);   // the MTP module's layer
  EXPECT_EQ(heads, 1 + 1);  // and its use of the head
  EXPECT_EQ(stages.front().front(), UnitKind::kEmbedding);
  EXPECT_EQ(stages.back().back(), UnitKind::kHead);
}

TEST(Layout, LayersAreSpreadEvenlyWithTheLargerSharesInTheMiddle) {
  const model::ModelConfig llama = model::load_model_config("llama-3.1-405b");
  Layout layout;
  layout.pipeline = 8;
  layout.chunks = 8;
  const std::vector<int> layers = stage_layers(llama, layout);
  ASSERT_EQ(layers.size(), 64u);
  EXPECT_EQ(layers.front(), 1);
  EXPECT_EQ(layers.back(), 1);
  EXPECT_EQ(std::accumulate(layers.begin(), layers.end(), 0), 126);
  EXPECT_LE(*std::max_element(layers.begin(), layers.end()), 2);
}

TEST(Layout, TensorParallelRanksFitANodeAndDivideTheMatrices) {
  EXPECT_NE(refused({"job.layout.tensor=16", "job.layout.expert=8"}).find("tensor 16 does not divide the 8 GPUs"),
            std::string::npos);
  EXPECT_NE(refused({"job.layout.stage_layers=[61]", "job.layout.chunks=2"}).find("chunks"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::sim::train

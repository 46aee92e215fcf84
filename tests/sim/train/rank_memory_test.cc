#include "sim/train/rank_memory.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "sim/train/forecast.h"

namespace lastbit::sim::train {
namespace {

Forecast v3_with(const std::vector<std::string>& settings, bool force = false) {
  ForecastRequest request;
  request.model = "deepseek-v3";
  request.cluster = "h800-2048";
  request.job = "v3-pretrain";
  request.settings = settings;
  request.samples = 0;
  request.force = force;
  return forecast_training(request);
}

double rank_part(const RankMemory& rank, const std::string& name) {
  for (const memory::Part& own : rank.parts) {
    if (own.name == name) return own.bytes;
  }
  return 0;
}

// DeepSeek-V3 report, section 3.2.3: without tensor parallelism.
TEST(RankMemory, TheTrainingRunFitsItsGpus) {
  const JobMemory memory = v3_with({}).main().memory;
  EXPECT_TRUE(memory.fits());
  EXPECT_LT(memory.peak().needed_bytes, 80.0 * (1 << 30));
  ASSERT_EQ(memory.ranks.size(), 16u);
  for (const RankMemory& rank : memory.ranks) {
    EXPECT_NEAR(memory::total(rank.parts), rank.peak_bytes, 1);
    EXPECT_GT(rank_part(rank, "gradients"), rank_part(rank, "parameters"));
  }
}

TEST(RankMemory, ShardingWhatZeroSaysLessens) {
  const double unsharded = v3_with({"job.layout.zero_stage=0"}, true).main().memory.peak().held_bytes;
  const double one = v3_with({}).main().memory.peak().held_bytes;
  const double two = v3_with({"job.layout.zero_stage=2"}).main().memory.peak().held_bytes;
  const double three = v3_with({"job.layout.zero_stage=3"}).main().memory.peak().held_bytes;
  EXPECT_GT(unsharded, one);
  EXPECT_GT(one, two);
  EXPECT_GT(two, three);
}

TEST(RankMemory, OneLayerIsAtWork) {
  EXPECT_EQ(rank_part(v3_with({}).main().memory.peak(), "the layer at work"), 0);
  EXPECT_GT(rank_part(v3_with({"job.layout.recompute=full"}).main().memory.peak(), "the layer at work"), 1e9);
  EXPECT_GT(rank_part(v3_with({"job.layout.zero_stage=3"}).main().memory.peak(), "the layer at work"), 1e9);
}

TEST(RankMemory, AShortageNamesTheLargestPart) {
  try {
    (void)v3_with({"cluster.gpu.hbm_capacity=40 GiB"});
    FAIL() << "40 GiB were enough";
  } catch (const core::Error& error) {
    EXPECT_EQ(core::exit_code(error.kind()), 2);
    const std::string line = error.what();
    EXPECT_NE(line.find("a GPU has 40.0 GiB"), std::string::npos) << line;
    EXPECT_NE(line.find("the largest part is gradients"), std::string::npos) << line;
  }
  EXPECT_FALSE(v3_with({"cluster.gpu.hbm_capacity=40 GiB"}, true).main().memory.fits());
}

}  // namespace
}  // namespace lastbit::sim::train

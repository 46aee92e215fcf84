#include "sim/train/chunk.h"

#include <gtest/gtest.h>

#include "model/config_file.h"

namespace lastbit::sim::train {
namespace {

constexpr int kCommunicationSms = 20;

class ChunkTest : public ::testing::Test {
 protected:
  ChunkTest()
      : job_(load_job("v3-pretrain")),
        cost_(cluster::load_cluster("h800-2048"), cost::load_calibration("h800"), job_.assumptions),
        chunks_(cost_, setting(), kCommunicationSms, stage_units(setting().model, job_.layout)) {}

  static workload::LayerSetting setting() {
    workload::LayerSetting setting;
    setting.model = model::load_model_config("deepseek-v3");
    setting.tokens = setting.sequence_tokens = 4096;
    setting.routing = {256, 8, 4, 8, 64, 8};
    return setting;
  }

  Job job_;
  cost::CostModel cost_;
  ChunkModel chunks_;
};

// Calibration, not prediction: the profile gave these operators their times. What is tested is the program: how they
// share the two streams. Span 129.0 ms, of which compute 124.3.
TEST_F(ChunkTest, TheProfiledChunkComesOutOfItsOperators) {
  const StageUnits layers(4, UnitKind::kMoeLayer);
  const ChunkTime time = chunks_.fused_units(layers, layers);
  EXPECT_NEAR(time.seconds / 129.012e-3, 1, 0.02);
  EXPECT_LT(time.exposed_s, 5e-3);
}

TEST_F(ChunkTest, FusedIsFasterThanApartAndNoFasterThanItsCompute) {
  const int middle = 7;
  const double apart = chunks_.forward(middle).seconds + chunks_.backward(middle).seconds;
  const ChunkTime fused = chunks_.fused(middle, middle);
  EXPECT_LT(fused.seconds, apart);
  EXPECT_GE(fused.seconds - fused.exposed_s,
            0.8 * apart - chunks_.forward(middle).exposed_s - chunks_.backward(middle).exposed_s);
}

TEST_F(ChunkTest, BackwardIsAtMostItsPartsApart) {
  for (const int stage : {0, 7, 15}) {
    const double whole = chunks_.backward(stage).seconds;
    EXPECT_GT(whole, chunks_.backward_input(stage).seconds);
    // Weight gradients hide communication in a full backward, on the SMs that communication leaves.
    EXPECT_LT(whole, chunks_.backward_input(stage).seconds + chunks_.weight(stage).seconds * 132.0 / 112 + 1e-9);
  }
}

TEST_F(ChunkTest, DenseLayersCommunicateNothing) {
  EXPECT_LT(chunks_.forward(0).exposed_s, chunks_.forward(7).exposed_s);
  const StageUnits dense(2, UnitKind::kDenseLayer);
  EXPECT_LT(chunks_.fused_units(dense, dense).exposed_s, 1e-12);
}

TEST_F(ChunkTest, MostOperatorTimeIsMeasured) {
  const Census census = chunks_.census();
  double total = 0;
  for (const double seconds : census.seconds) total += seconds;
  EXPECT_GT(census.seconds[static_cast<std::size_t>(cost::Provenance::kMeasured)] / total, 0.9);
}

}  // namespace
}  // namespace lastbit::sim::train

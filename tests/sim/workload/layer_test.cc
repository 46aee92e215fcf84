#include "sim/workload/layer.h"

#include <gtest/gtest.h>

#include "model/config_file.h"

namespace lastbit::sim::workload {
namespace {

LayerSetting v3_setting() {
  LayerSetting setting;
  setting.model = model::load_model_config("deepseek-v3");
  setting.tokens = 4096;
  setting.sequence_tokens = 4096;
  setting.routing = {256, 8, 4, 8, 64, 8};
  return setting;
}

TEST(LayerWork, ProfiledChunkHasThePublishedModelWork) {
  // 4 MoE layers, forward and backward, 4096 tokens: 65.8 TFLOP (published profile of the overlapped chunk).
  EXPECT_NEAR(4 * layer_work(v3_setting(), true).model_flops() / 1e12, 65.8, 0.05);
}

TEST(LayerWork, BackwardIsTwiceTheForwardInModelWork) {
  for (const bool moe : {false, true}) {
    const LayerWork work = layer_work(v3_setting(), moe);
    double forward = 0;
    for (const Segment segment : {Segment::kAttentionForward, Segment::kMlpForward}) {
      for (const Operator& op : work.at(segment)) forward += op.model_flops;
    }
    EXPECT_NEAR(work.model_flops() / forward, 3, 1e-9);
  }
}

TEST(LayerWork, RecomputationIsDoneButNotCounted) {
  const LayerWork work = layer_work(v3_setting(), true);
  double done = 0;
  double counted = 0;
  for (const Operator& op : work.at(Segment::kAttentionBackward)) {
    done += op.cost.flops;
    counted += op.model_flops;
  }
  EXPECT_GT(done, counted);
}

TEST(LayerWork, ATokenCrossesTheNicOncePerOtherNode) {
  const LayerWork work = layer_work(v3_setting(), true);
  const Transfer& dispatch = *work.transfers[0];
  const double token_bytes = 7168 * 1.03125;
  EXPECT_LT(dispatch.logical_bytes, 4096 * 4 * token_bytes);
  EXPECT_GT(dispatch.logical_bytes, 4096 * 3 * token_bytes);
  EXPECT_NEAR(dispatch.nic_bytes / dispatch.logical_bytes, 7.0 / 8, 1e-12);
  EXPECT_NEAR(work.transfers[1]->nic_bytes / dispatch.nic_bytes, 2 / 1.03125, 1e-12);
  EXPECT_FALSE(layer_work(v3_setting(), false).transfers[0].has_value());
}

TEST(LayerWork, SplittingASequenceKeepsTheModelWorkOfAToken) {
  LayerSetting whole = v3_setting();
  whole.tokens = whole.sequence_tokens = 32768;
  LayerSetting split = v3_setting();
  split.sequence_tokens = 32768;
  split.context_parallel = 8;
  EXPECT_NEAR(layer_work(split, true).model_flops() * 8 / layer_work(whole, true).model_flops(), 1, 1e-9);
}

}  // namespace
}  // namespace lastbit::sim::workload

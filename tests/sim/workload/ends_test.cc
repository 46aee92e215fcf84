#include "sim/workload/ends.h"

#include <gtest/gtest.h>

#include "model/config_file.h"

namespace lastbit::sim::workload {
namespace {

TEST(TrainingFlops, V3CountsAsPublished) {
  const model::ModelConfig v3 = model::load_model_config("deepseek-v3");
  // 6 x 36.63B + causal attention; published 250 GFLOP a token.
  EXPECT_NEAR(training_flops_per_token(v3, 4096, true) / 1e9, 250.5, 0.1);
  // Published TFLOPS, 432 non-causal over 385 causal.
  EXPECT_NEAR(training_flops_per_token(v3, 4096, false) / training_flops_per_token(v3, 4096, true), 432.0 / 385, 2e-3);
}

TEST(TrainingFlops, HeadWorkIsSixTimesItsParameters) {
  LayerSetting setting;
  setting.model = model::load_model_config("deepseek-v3");
  setting.tokens = 4096;
  const EndWork head = head_work(setting);
  double flops = 0;
  for (const auto* part : {&head.forward, &head.backward, &head.weight}) {
    for (const Operator& op : *part) flops += op.model_flops;
  }
  EXPECT_DOUBLE_EQ(flops, 6.0 * 4096 * 7168 * 129280);
}

}  // namespace
}  // namespace lastbit::sim::workload

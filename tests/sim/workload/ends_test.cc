#include "sim/workload/ends.h"

#include <gtest/gtest.h>

#include "model/config_file.h"
#include "model/counts.h"

namespace lastbit::sim::workload {
namespace {

// The sum over the forecast's operators is the count that MFU uses, made from the configuration alone.
TEST(TrainingFlops, OperatorsAddUpToTheCountOfTheModel) {
  const model::ModelConfig v3 = model::load_model_config("deepseek-v3");
  LayerSetting setting;
  setting.model = v3;
  setting.tokens = setting.sequence_tokens = 4096;
  setting.routing = {256, 8, 4, 8, 64, 8};
  const double layers = 3 * layer_work(setting, false).model_flops() + 58 * layer_work(setting, true).model_flops();
  const double head = 6.0 * 4096 * 7168 * 129280;
  const double counted = model::count_flops(v3, 4096, true).training();
  EXPECT_NEAR((layers + head) / 4096 / counted, 1, 1e-9);
  // 6 x 36.63B + causal attention; published 250 GFLOP a token, and 432 TFLOPS non-causal over 385 causal.
  EXPECT_NEAR(counted / 1e9, 250.5, 0.1);
  EXPECT_NEAR(model::count_flops(v3, 4096, false).training() / counted, 432.0 / 385, 2e-3);
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

#include "train/learning_rate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace lastbit::train {
namespace {

constexpr double kTolerance = 1e-15;  // relative: a few roundings of double

void expect_rate(const LearningRateSchedule& schedule, std::int64_t step, double tokens, double expected) {
  EXPECT_NEAR(learning_rate(schedule, step, tokens), expected, kTolerance * std::max(expected, 1e-5)) << step;
}

TEST(LearningRate, V3AtItsCorners) {
  const V3Schedule v3;
  EXPECT_EQ(v3.total_tokens(), 14.8e12);
  expect_rate(v3, 0, 0, 0);
  expect_rate(v3, 500, 1e9, 5.5e-5);
  expect_rate(v3, 2000, 0, 2.2e-4);
  expect_rate(v3, 1 << 20, 12.15e12, (2.2e-4 + 2.2e-5) / 2);  // half of the cosine
  expect_rate(v3, 1 << 20, 14.632e12, 2.2e-5);
  expect_rate(v3, 1 << 20, 14.633e12, 7.3e-6);
  expect_rate(v3, 1 << 20, 99e12, 7.3e-6);
}

TEST(LearningRate, V3NeverRises) {
  const V3Schedule v3;
  double before = v3.peak;
  for (double tokens = 0; tokens < 15e12; tokens += 7e9) {
    const double rate = learning_rate(v3, 5000, tokens);
    ASSERT_LE(rate, before);
    before = rate;
  }
  EXPECT_EQ(before, v3.last);
}

TEST(LearningRate, ScaledToABudgetEveryStretchKeepsItsShare) {
  const V3Schedule small = scaled(V3Schedule{}, 14.8e6, 10);
  EXPECT_NEAR(small.total_tokens(), 14.8e6, 1e-6);
  EXPECT_NEAR(small.constant_tokens, 10e6, 1e-6);
  for (const double share : {0.1, 0.7, 0.9, 0.98, 0.995})
    EXPECT_NEAR(learning_rate(small, 10, share * 14.8e6), learning_rate(V3Schedule{}, 2000, share * 14.8e12), 1e-18);
  expect_rate(small, 5, 1, 1.1e-4);
  EXPECT_THROW((void)scaled(V3Schedule{}, 0, 10), core::Error);
  EXPECT_THROW((void)scaled(V3Schedule{}, std::nan(""), 10), core::Error);
}

TEST(LearningRate, DeepSeekMoEStepsDown) {
  StepDecaySchedule moe;
  moe.total_steps = 10000;
  expect_rate(moe, 1000, 0, 2.1e-4);
  expect_rate(moe, 2000, 0, 4.2e-4);
  expect_rate(moe, 7999, 0, 4.2e-4);
  expect_rate(moe, 8000, 0, 4.2e-4 * 0.316);
  expect_rate(moe, 8999, 0, 4.2e-4 * 0.316);
  expect_rate(moe, 9000, 0, 4.2e-4 * 0.316 * 0.316);
  expect_rate(moe, 20000, 0, 4.2e-4 * 0.316 * 0.316);
}

TEST(LearningRate, CosineAndConstant) {
  const CosineSchedule cosine{100, 1100, 5e-6, 1e-6};
  expect_rate(cosine, 50, 0, 2.5e-6);
  expect_rate(cosine, 100, 0, 5e-6);
  expect_rate(cosine, 600, 0, 3e-6);
  expect_rate(cosine, 350, 0, 1e-6 + 4e-6 * 0.5 * (1 + std::sqrt(0.5)));
  expect_rate(cosine, 1100, 0, 1e-6);
  expect_rate(cosine, 2000, 0, 1e-6);
  expect_rate(ConstantSchedule{4, 3e-4}, 1, 0, 7.5e-5);
  expect_rate(ConstantSchedule{4, 3e-4}, 4, 0, 3e-4);
  expect_rate(ConstantSchedule{0, 3e-4}, 0, 0, 3e-4);
}

TEST(LearningRate, RefusesWhatHasNoMeaning) {
  const auto refused = [](const LearningRateSchedule& schedule, std::int64_t step = 5, double tokens = 5) {
    EXPECT_THROW((void)learning_rate(schedule, step, tokens), core::Error);
  };
  refused(V3Schedule{}, -1);
  refused(V3Schedule{}, 0, -1.0);
  refused(V3Schedule{}, 0, std::nan(""));
  V3Schedule v3;
  v3.cosine_tokens = -1;
  refused(v3);  // although the step is within the warm-up
  v3 = {};
  v3.last = std::nan("");
  refused(v3);
  v3 = {};
  v3.warm_up_steps = -1;
  refused(v3);
  StepDecaySchedule moe;
  moe.total_steps = 0;
  refused(moe);
  moe = {};
  moe.first_decay = 0.95;
  refused(moe);
  refused(CosineSchedule{});
  refused(CosineSchedule{10, 5, 1e-5, 1e-6});
  refused(ConstantSchedule{0, -1e-5});
}

TEST(BatchRamp, RisesToItsEndAndStays) {
  const BatchRamp v3;
  EXPECT_EQ(batch_size(v3, 0), 3072);
  EXPECT_EQ(batch_size(v3, 469e9 / 2), 3072 + 6144);
  EXPECT_EQ(batch_size(v3, 469e9), 15360);
  EXPECT_EQ(batch_size(v3, 14.8e12), 15360);
  BatchRamp coarse;
  coarse.multiple = 3072;
  EXPECT_EQ(batch_size(coarse, 469e9 * 0.249), 3072);
  EXPECT_EQ(batch_size(coarse, 469e9 * 0.251), 6144);
  EXPECT_EQ(batch_size(coarse, 469e9 * 0.999), 12288);
  EXPECT_EQ(batch_size(BatchRamp{8, 8, 0, 1}, 0), 8);
}

TEST(BatchRamp, RefusesWhatHasNoMeaning) {
  for (const BatchRamp& ramp : {BatchRamp{0, 5, 10, 1}, BatchRamp{5, 4, 10, 1}, BatchRamp{4, 8, 10, 3},
                                BatchRamp{4, 8, 10, 0}, BatchRamp{4, 8, -1, 1}, BatchRamp{4, 8, std::nan(""), 1}})
    EXPECT_THROW((void)batch_size(ramp, 1), core::Error);
  EXPECT_THROW((void)batch_size({}, -1), core::Error);
  EXPECT_THROW((void)batch_size({}, std::nan("")), core::Error);
}

}  // namespace
}  // namespace lastbit::train

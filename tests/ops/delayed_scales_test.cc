#include "ops/delayed_scales.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"
#include "operator_checks.h"
#include "ops/linear.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

Tensor times(const Tensor& x, float factor) {
  Tensor result = x.clone();
  for (float& value : result.mutable_values<float>()) value *= factor;
  return result;
}

TEST(DelayedScales, ComeFromTheLargestOfTheStepsBefore) {
  DelayedScales scales;
  const auto scale = [&] { return scales.scale("x", numerics::QuantizeRule{}, 2); };
  EXPECT_EQ(scale(), 1);  // before the first step
  scales.observe("x", 448);
  scales.observe("x", 896);
  scales.observe("x", 224);
  EXPECT_EQ(scale(), 1);  // which is still going on
  scales.end_step();
  EXPECT_EQ(scale(), 2);
  scales.observe("x", 224);
  scales.end_step();
  EXPECT_EQ(scale(), 2);  // of two steps
  scales.end_step();
  EXPECT_EQ(scale(), 0.5F);
}

const numerics::QuantizeRule kE5m2{.format = numerics::Format::kE5M2};

TEST(DelayedScales, GoOnFromTheirHistories) {
  DelayedScales scales;
  for (const float amax : {7.0F, 3.0F, 5.0F, 1.0F}) {
    (void)scales.scale("x", kE5m2, 3);
    scales.observe("x", amax);
    scales.end_step();
  }
  DelayedScales later;
  later.restore(scales.histories());
  EXPECT_TRUE(same_bits(later.histories().at("x"), scales.histories().at("x")));
  for (int step = 0; step < 3; ++step) {
    EXPECT_EQ(later.scale("x", kE5m2, 3), scales.scale("x", kE5m2, 3)) << step;
    scales.end_step();
    later.end_step();
  }
  DelayedScales other;
  other.restore(scales.histories());
  EXPECT_THROW((void)other.scale("x", kE5m2, 4), core::Error);
}

// In the second step of the same operands a delayed scale is the current one, so all three products agree with it.
TEST(DelayedScales, OfTheSameOperandsAreCurrentOnes) {
  const Numerics all_delayed = numerics_by_name("fp8-h800-delayed");
  const Numerics all_current = numerics_by_name("fp8-h800-tensor");
  const Tensor x = times(random_tensor("x", {50, 96}), 3);
  const Tensor weight = random_tensor("w", {70, 96});
  const Tensor dy = times(random_tensor("dy", {50, 70}), 1e-3F);
  for (const auto layer : {&Numerics::projection, &Numerics::expert_in, &Numerics::expert_down}) {
    DelayedScales scales;
    const auto products = [&](const LinearNumerics& numerics) {
      const LinearSite site{"layer", nullptr, &scales};
      const LinearInput input(x, numerics, site);
      Tensor dweight = Tensor::zeros(tensor::DType::kF32, {70, 96});
      const Tensor y = linear(input, weight, numerics, site);
      linear_wgrad(dy, input, dweight, numerics, site);
      return std::vector<Tensor>{y, linear_dgrad(dy, weight, numerics, site), dweight};
    };
    const std::vector<Tensor> first = products(all_delayed.*layer);
    scales.end_step();
    const std::vector<Tensor> second = products(all_delayed.*layer);
    const std::vector<Tensor> expected = products(all_current.*layer);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(same_bits(second[i], expected[i])) << i;
      EXPECT_FALSE(same_bits(first[i], expected[i])) << i;  // made with scales of 1
    }
  }
}

TEST(DelayedScales, AreNothingWithoutTraining) {
  const LinearNumerics numerics = numerics_by_name("fp8-h800-delayed").projection;
  EXPECT_THROW(LinearInput(random_tensor("x", {2, 8}), numerics, LinearSite{"layer"}), core::Error);
}

}  // namespace
}  // namespace lastbit::ops

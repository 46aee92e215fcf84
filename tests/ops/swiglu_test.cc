#include "ops/swiglu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "numerics/elementary.h"
#include "operator_checks.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

TEST(Swiglu, AgreesWithDouble) {
  const Tensor gate = random_tensor("gate", {4, 9});
  const Tensor up = random_tensor("up", {4, 9});
  const Tensor y = swiglu(gate, up);
  for (std::int64_t i = 0; i < 36; ++i) {
    const auto g = static_cast<double>(at(gate, i));
    EXPECT_NEAR(static_cast<double>(at(y, i)), g / (1 + std::exp(-g)) * static_cast<double>(at(up, i)), 1e-7);
  }
}

TEST(Swiglu, WorksInFp64) {
  const Tensor gate = random_f64("gate", {3, 7});
  const Tensor up = random_f64("up", {3, 7});
  const Tensor y = swiglu(gate, up);
  ASSERT_EQ(y.dtype(), tensor::DType::kF64);
  for (std::size_t i = 0; i < 21; ++i) {
    const double g = gate.values<double>()[i];
    EXPECT_NEAR(y.values<double>()[i], g / (1 + std::exp(-g)) * up.values<double>()[i], 1e-15);
  }
}

TEST(Swiglu, GradientsAreThoseOfDifferences) {
  for (const tensor::Shape& shape : {tensor::Shape{1}, tensor::Shape{2, 5}, tensor::Shape{3, 1, 4}, tensor::Shape{0}}) {
    const Tensor gate = random_f64("gate", shape);
    const Tensor up = random_f64("up", shape);
    const Tensor dy = random_f64("dy", shape);
    const auto [dgate, dup] = swiglu_backward(dy, gate, up);
    expect_gradient(
        dgate, gate, [&](const Tensor& moved) { return inner(swiglu(moved, up), dy); }, "gate");
    expect_gradient(
        dup, up, [&](const Tensor& moved) { return inner(swiglu(gate, moved), dy); }, "up");
  }
}

// Large gates too, where the slope goes to 0 and 1; 1300 elements cross the buffers' ends.
TEST(Swiglu, FollowsTheDocumentedRounding) {
  const Tensor dy = random_tensor("dy", {1300});
  const Tensor up = random_tensor("up", {1300});
  Tensor gate = random_tensor("gate", {1300});
  for (float& value : gate.mutable_values<float>()) value *= 100;
  const Tensor y = swiglu(gate, up);
  const auto [dgate, dup] = swiglu_backward(dy, gate, up);
  for (std::int64_t i = 0; i < 1300; ++i) {
    const float a = numerics::silu(at(gate, i));
    const float s = numerics::sigmoid(at(gate, i));
    EXPECT_EQ(at(y, i), a * at(up, i));
    EXPECT_EQ(at(dup, i), at(dy, i) * a);
    EXPECT_EQ(at(dgate, i), (at(dy, i) * at(up, i)) * (s + a * (1.0F - s)));
  }
}

TEST(Swiglu, ThreadsChangeNoBit) {
  expect_threads_change_no_bit([] {
    const Tensor gate = random_tensor("gate", {60, 300});
    const Tensor up = random_tensor("up", {60, 300});
    const auto [dgate, dup] = swiglu_backward(random_tensor("dy", {60, 300}), gate, up);
    return std::vector<Tensor>{swiglu(gate, up), dgate, dup};
  });
}

TEST(Swiglu, RefusesShapesAndTypesThatDoNotMeet) {
  const Tensor gate = random_tensor("gate", {2, 3});
  EXPECT_THROW(static_cast<void>(swiglu(gate, random_tensor("up", {3, 2}))), core::Error);
  EXPECT_THROW(static_cast<void>(swiglu(gate, random_f64("up", {2, 3}))), core::Error);
  EXPECT_THROW(static_cast<void>(swiglu_backward(random_tensor("dy", {6}), gate, gate)), core::Error);
}

}  // namespace
}  // namespace lastbit::ops

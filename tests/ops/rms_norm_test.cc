#include "ops/rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "numerics/elementary.h"
#include "numerics/reduce.h"
#include "operator_checks.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

TEST(RmsNorm, AgreesWithDouble) {
  const Tensor x = random_tensor("x", {5, 37});
  const Tensor weight = random_tensor("w", {37});
  const Tensor y = rms_norm(x, weight, 1e-3);
  for (std::int64_t r = 0; r < 5; ++r) {
    double squares = 0;
    for (std::int64_t i = 0; i < 37; ++i) squares += std::pow(static_cast<double>(at(x, r * 37 + i)), 2);
    for (std::int64_t i = 0; i < 37; ++i) {
      const double expected =
          static_cast<double>(at(weight, i)) * static_cast<double>(at(x, r * 37 + i)) / std::sqrt(squares / 37 + 1e-3);
      EXPECT_NEAR(static_cast<double>(at(y, r * 37 + i)), expected, 4e-7);
    }
  }
}

TEST(RmsNorm, WorksInFp64) {
  const Tensor x = random_f64("x", {3, 21});
  const Tensor weight = random_f64("w", {21});
  const Tensor y = rms_norm(x, weight, 1e-6);
  ASSERT_EQ(y.dtype(), tensor::DType::kF64);
  for (std::size_t r = 0; r < 3; ++r) {
    const auto row = x.values<double>().subspan(r * 21, 21);
    double squares = 0;
    for (const double value : row) squares += value * value;
    for (std::size_t i = 0; i < 21; ++i)
      EXPECT_NEAR(y.values<double>()[r * 21 + i], weight.values<double>()[i] * row[i] / std::sqrt(squares / 21 + 1e-6),
                  1e-14);
  }
}

TEST(RmsNorm, GradientsAreThoseOfDifferences) {
  for (const auto& [rows, d] : std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {3, 7}, {40, 2}, {2, 33}}) {
    const Tensor x = random_f64("x", {rows, d});
    const Tensor weight = random_f64("w", {d});
    const Tensor dy = random_f64("dy", {rows, d});
    Tensor dweight = Tensor::zeros(tensor::DType::kF64, {d});
    const Tensor dx = rms_norm_backward(dy, x, weight, 1e-2, dweight);
    expect_gradient(
        dx, x, [&](const Tensor& moved) { return inner(rms_norm(moved, weight, 1e-2), dy); }, "x");
    expect_gradient(
        dweight, weight, [&](const Tensor& moved) { return inner(rms_norm(x, moved, 1e-2), dy); }, "w");
  }
}

// The order that the header states, written with plain loops.
TEST(RmsNorm, BackwardFollowsTheDocumentedRounding) {
  constexpr std::int64_t kRows = 70;  // blocks of 32, 32 and 6
  constexpr std::int64_t kDim = 19;
  const Tensor x = random_tensor("x", {kRows, kDim});
  const Tensor weight = random_tensor("w", {kDim});
  const Tensor dy = random_tensor("dy", {kRows, kDim});
  Tensor dweight = random_tensor("before", {kDim});
  std::vector<float> expected_dweight;
  for (std::int64_t i = 0; i < kDim; ++i) {
    float total = 0;
    for (std::int64_t block = 0; block < kRows; block += 32) {
      float part = 0;
      for (std::int64_t r = block; r < std::min(block + 32, kRows); ++r) {
        const float* row = x.values<float>().data() + r * kDim;
        const float s = numerics::rsqrt(numerics::sum_of_squares(row, kDim) / 19.0F + 1e-6F);
        part += at(dy, r * kDim + i) * (row[i] * s);
      }
      total += part;
    }
    expected_dweight.push_back(at(dweight, i) + total);
  }
  const Tensor dx = rms_norm_backward(dy, x, weight, 1e-6, dweight);
  EXPECT_TRUE(std::ranges::equal(dweight.values<float>(), expected_dweight));
  for (std::int64_t r = 0; r < kRows; ++r) {
    const float* row = x.values<float>().data() + r * kDim;
    const float s = numerics::rsqrt(numerics::sum_of_squares(row, kDim) / 19.0F + 1e-6F);
    std::vector<float> n;
    std::vector<float> g;
    for (std::int64_t i = 0; i < kDim; ++i) {
      n.push_back(row[i] * s);
      g.push_back(at(dy, r * kDim + i) * at(weight, i));
    }
    const float mean = numerics::dot(g.data(), n.data(), kDim) / 19.0F;
    for (std::size_t i = 0; i < n.size(); ++i)
      EXPECT_EQ(at(dx, r * kDim + static_cast<std::int64_t>(i)), s * (g[i] - n[i] * mean));
  }
}

TEST(RmsNorm, ThreadsChangeNoBit) {
  expect_threads_change_no_bit([] {
    const Tensor x = random_tensor("x", {300, 50});
    const Tensor weight = random_tensor("w", {50});
    Tensor dweight = Tensor::zeros(tensor::DType::kF32, {50});
    const Tensor dx = rms_norm_backward(random_tensor("dy", {300, 50}), x, weight, 1e-6, dweight);
    return std::vector<Tensor>{rms_norm(x, weight, 1e-6), dx, dweight};
  });
}

TEST(RmsNorm, NoRowsChangeNothing) {
  Tensor dweight = random_tensor("before", {4});
  const Tensor empty = Tensor::empty(tensor::DType::kF32, {0, 4});
  const Tensor dx = rms_norm_backward(empty, empty, random_tensor("w", {4}), 1e-6, dweight);
  EXPECT_EQ(dx.shape(), empty.shape());
  EXPECT_TRUE(same_bits(dweight, random_tensor("before", {4})));
}

TEST(RmsNorm, RefusesShapesAndTypesThatDoNotMeet) {
  const Tensor x = random_tensor("x", {2, 3});
  Tensor dweight = Tensor::zeros(tensor::DType::kF64, {3});
  EXPECT_THROW(static_cast<void>(rms_norm(x, random_tensor("w", {4}), 1e-6)), core::Error);
  EXPECT_THROW(static_cast<void>(rms_norm(x, random_f64("w", {3}), 1e-6)), core::Error);
  EXPECT_THROW(static_cast<void>(rms_norm_backward(x, x, random_tensor("w", {3}), 1e-6, dweight)), core::Error);
}

}  // namespace
}  // namespace lastbit::ops

// What every operator's tests hold it to: gradients by differences, and the same bits on any number of threads.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// sum a b in double, so that a gradient of this with respect to a is b.
inline double inner(const tensor::Tensor& a, const tensor::Tensor& b) {
  double sum = 0;
  const auto x = a.values<double>();
  const auto y = b.values<double>();
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

// gradient [of x's shape] against central differences of loss(x), all FP64. With operands of order 1 and a step of 1e-6
// the differences' own error is third derivative * 1e-12 plus |loss| * 2^-52 / 1e-6, below 1e-8: 1e-7 leaves room.
template <typename Loss>
void expect_gradient(const tensor::Tensor& gradient, const tensor::Tensor& x, Loss loss, const std::string& what) {
  ASSERT_EQ(gradient.shape(), x.shape()) << what;
  constexpr double kStep = 1e-6;
  tensor::Tensor moved = x.clone();
  const auto value = moved.mutable_values<double>();
  for (std::size_t i = 0; i < value.size(); ++i) {
    const double centre = value[i];
    value[i] = centre + kStep;
    const double above = loss(moved);
    value[i] = centre - kStep;
    const double below = loss(moved);
    value[i] = centre;
    const double expected = (above - below) / (2 * kStep);
    const double found = gradient.values<double>()[i];
    EXPECT_NEAR(found, expected, 1e-7 * (1 + std::abs(expected))) << what << " [" << i << "]";
  }
}

inline bool same_bits(const tensor::Tensor& a, const tensor::Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::ranges::equal(a.bytes(), b.bytes());
}

// run() -> std::vector<Tensor>, the same bits with 1 and 3 threads.
template <typename Run>
void expect_threads_change_no_bit(Run run) {
  core::set_num_threads(1);
  const std::vector<tensor::Tensor> alone = run();
  core::set_num_threads(3);
  const std::vector<tensor::Tensor> together = run();
  core::set_num_threads(0);
  ASSERT_EQ(alone.size(), together.size());
  for (std::size_t i = 0; i < alone.size(); ++i) EXPECT_TRUE(same_bits(alone[i], together[i])) << "tensor " << i;
}

}  // namespace lastbit::ops

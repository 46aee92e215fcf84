// FP64 operands and central differences for the tests of routers and balance losses.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/philox.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// Uniform in [-amplitude, amplitude), a function of `name` and the index alone. Two words a value: ties are unlikely.
inline tensor::Tensor random_fp64(const std::string& name, const tensor::Shape& shape, double amplitude = 1) {
  tensor::Tensor result = tensor::Tensor::empty(tensor::DType::kF64, shape);
  const core::RandomStream stream(12, name);
  std::uint64_t i = 0;
  for (double& value : result.mutable_values<double>()) {
    const double fine =
        static_cast<double>(stream.uniform(i)) + std::ldexp(static_cast<double>(stream.uniform(i + 1)), -24);
    value = amplitude * (2 * fine - 1);
    i += 2;
  }
  return result;
}

// value(logits) is a loss of order 1 and curvature of order 1: a step of 1e-5 leaves 1e-10 of truncation and
// 1e-16 / 1e-5 times a few of rounding, below 1e-7 of a gradient whose largest entry is 1e-3 or more.
template <typename Value>
void expect_gradient(const tensor::Tensor& logits, const tensor::Tensor& gradient, Value value,
                     const std::string& label) {
  constexpr double kStep = 1e-5;
  ASSERT_EQ(gradient.shape(), logits.shape()) << label;
  const auto ours = gradient.values<double>();
  double largest = 0;
  for (const double g : ours) largest = std::max(largest, std::abs(g));
  for (std::size_t i = 0; i < ours.size(); ++i) {
    tensor::Tensor moved = logits.clone();
    double& x = moved.mutable_values<double>()[i];
    const double before = x;
    x = before + kStep;
    const double above = value(moved);
    x = before - kStep;
    const double below = value(moved);
    EXPECT_NEAR(ours[i], (above - below) / (2 * kStep), 1e-7 * std::max(largest, 1e-3)) << label << " at " << i;
  }
}

}  // namespace lastbit::ops

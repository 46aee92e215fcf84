// Random operands for the operators' tests.
#pragma once

#include <string>

#include "core/philox.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// Uniform in [-1, 1), a function of `name` and the index alone.
inline tensor::Tensor random_tensor(const std::string& name, const tensor::Shape& shape) {
  tensor::Tensor result = tensor::Tensor::empty(tensor::DType::kF32, shape);
  const core::RandomStream stream(11, name);
  std::uint64_t i = 0;
  for (float& value : result.mutable_values<float>()) value = 2 * stream.uniform(i++) - 1;
  return result;
}

// The same in FP64, on a grid of 2^-47.
inline tensor::Tensor random_f64(const std::string& name, const tensor::Shape& shape) {
  tensor::Tensor result = tensor::Tensor::empty(tensor::DType::kF64, shape);
  const core::RandomStream stream(13, name);
  std::uint64_t i = 0;
  for (double& value : result.mutable_values<double>()) {
    const auto coarse = static_cast<double>(stream.uniform(2 * i));
    value = 2 * (coarse + static_cast<double>(stream.uniform(2 * i + 1)) * 0x1p-24) - 1;
    ++i;
  }
  return result;
}

inline float at(const tensor::Tensor& tensor, std::int64_t i) {
  return tensor.values<float>()[static_cast<std::size_t>(i)];
}

}  // namespace lastbit::ops

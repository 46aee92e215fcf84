// Checked access to the row-major FP32 matrices that operators work on.
#pragma once

#include <cstdint>

#include "core/error.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// A tensor [..., columns] seen as rows of its last axis.
struct ConstMatrix {
  const float* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  [[nodiscard]] const float* row(std::int64_t i) const { return data + i * columns; }
};

// x: contiguous FP32 of rank 1 or more. Errors: anything else is an internal error.
[[nodiscard]] inline ConstMatrix as_matrix(const tensor::Tensor& x) {
  core::check(x.rank() >= 1, "an operand has at least one axis");
  const std::int64_t columns = x.dim(-1);
  return {x.values<float>().data(), columns == 0 ? 0 : x.size() / columns, columns};
}

// The shape of x with another last axis.
[[nodiscard]] inline tensor::Shape with_last_axis(const tensor::Tensor& x, std::int64_t columns) {
  tensor::Shape shape = x.shape();
  shape.back() = columns;
  return shape;
}

}  // namespace lastbit::ops

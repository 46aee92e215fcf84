// Checked access to the row-major matrices that operators work on, FP32 or FP64.
#pragma once

#include <cstdint>

#include "core/error.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// A tensor [..., columns] seen as rows of its last axis.
template <typename T>
struct Matrix {
  const T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  [[nodiscard]] const T* row(std::int64_t i) const { return data + i * columns; }
};
using ConstMatrix = Matrix<float>;

// x: contiguous, of rank 1 or more, elements T. Errors: anything else is an internal error.
template <typename T = float>
[[nodiscard]] Matrix<T> as_matrix(const tensor::Tensor& x) {
  core::check(x.rank() >= 1, "an operand has at least one axis");
  const std::int64_t columns = x.dim(-1);
  return {x.values<T>().data(), columns == 0 ? 0 : x.size() / columns, columns};
}

// How many rows of its last axis x has.
[[nodiscard]] inline std::int64_t as_rows(const tensor::Tensor& x) {
  core::check(x.rank() >= 1, "an operand has at least one axis");
  std::int64_t rows = 1;
  for (std::int64_t axis = 0; axis + 1 < x.rank(); ++axis) rows *= x.dim(axis);
  return rows;
}

// Elements that a task of an operator bound by memory works on, and rows of that many.
inline constexpr std::int64_t kElementsATask = 16384;
[[nodiscard]] constexpr std::int64_t rows_a_task(std::int64_t columns) {
  return columns + 1 >= kElementsATask ? 1 : kElementsATask / (columns + 1);
}

// The shape of x with another last axis.
[[nodiscard]] inline tensor::Shape with_last_axis(const tensor::Tensor& x, std::int64_t columns) {
  tensor::Shape shape = x.shape();
  shape.back() = columns;
  return shape;
}

}  // namespace lastbit::ops

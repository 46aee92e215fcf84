#include "ops/rms_norm.h"

#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary.h"
#include "numerics/reduce.h"
#include "ops/element_type.h"
#include "ops/matrix.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

constexpr std::int64_t kForwardRows = 16;   // rows a task
constexpr std::int64_t kBackwardRows = 32;  // rows a task, and so a block of the sum over rows
constexpr std::int64_t kGainsATask = 256;   // columns a task when blocks are added

template <typename T>
T inverse_root_mean_square(const T* row, std::int64_t count, double eps) {
  return numerics::rsqrt(numerics::sum_of_squares(row, count) / static_cast<T>(count) + static_cast<T>(eps));
}

template <typename T>
Tensor forward(const Tensor& x, const Tensor& weight, double eps) {
  const Matrix<T> in = as_matrix<T>(x);
  const T* gain = weight.values<T>().data();
  Tensor result = Tensor::empty(x.dtype(), x.shape());
  T* out = result.mutable_values<T>().data();
  core::parallel_for(in.rows, kForwardRows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = in.row(r);
      const T scale = inverse_root_mean_square(row, in.columns, eps);
      for (std::int64_t i = 0; i < in.columns; ++i) out[r * in.columns + i] = gain[i] * (row[i] * scale);
    }
  });
  return result;
}

// target[i] += the sum over blocks, ascending, of blocks[block, i].
template <typename T>
void add_blocks(const std::vector<T>& blocks, std::int64_t columns, T* target) {
  const std::int64_t count = columns == 0 ? 0 : static_cast<std::int64_t>(blocks.size()) / columns;
  core::parallel_for(columns, kGainsATask, [&](std::int64_t begin, std::int64_t end) {
    std::vector<T> total(static_cast<std::size_t>(end - begin));
    for (std::int64_t block = 0; block < count; ++block)
      for (std::int64_t i = begin; i < end; ++i)
        total[static_cast<std::size_t>(i - begin)] += blocks[static_cast<std::size_t>(block * columns + i)];
    for (std::int64_t i = begin; i < end; ++i) target[i] += total[static_cast<std::size_t>(i - begin)];
  });
}

template <typename T>
Tensor backward(const Tensor& dy, const Tensor& x, const Tensor& weight, double eps, Tensor& dweight) {
  const Matrix<T> in = as_matrix<T>(x);
  const Matrix<T> upstream = as_matrix<T>(dy);
  const std::int64_t columns = in.columns;
  const T* gain = weight.values<T>().data();
  Tensor result = Tensor::empty(x.dtype(), x.shape());
  T* dx = result.mutable_values<T>().data();
  std::vector<T> blocks(static_cast<std::size_t>((in.rows + kBackwardRows - 1) / kBackwardRows * columns));
  core::parallel_for(in.rows, kBackwardRows, [&](std::int64_t begin, std::int64_t end) {
    T* gain_sum = blocks.data() + begin / kBackwardRows * columns;
    std::vector<T> weighted(static_cast<std::size_t>(columns));
    T* g = weighted.data();
    for (std::int64_t r = begin; r < end; ++r) {
      const T* row = in.row(r);
      const T* up = upstream.row(r);
      T* normed = dx + r * columns;  // until the result takes its place
      const T scale = inverse_root_mean_square(row, columns, eps);
      for (std::int64_t i = 0; i < columns; ++i) {
        normed[i] = row[i] * scale;
        g[i] = up[i] * gain[i];
        gain_sum[i] += up[i] * normed[i];
      }
      const T mean = numerics::dot(g, normed, columns) / static_cast<T>(columns);
      for (std::int64_t i = 0; i < columns; ++i) normed[i] = scale * (g[i] - normed[i] * mean);
    }
  });
  add_blocks(blocks, columns, dweight.mutable_values<T>().data());
  return result;
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  core::check(x.rank() >= 1 && weight.shape() == tensor::Shape{x.dim(-1)} && weight.dtype() == x.dtype(),
              "rms_norm: x [..., d] and weight [d] of one type");
  return with_element_type(x.dtype(), "rms_norm: x is FP32 or FP64",
                           [&](auto zero) { return forward<decltype(zero)>(x, weight, eps); });
}

Tensor rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight, double eps, Tensor& dweight) {
  core::check(dy.shape() == x.shape() && dy.dtype() == x.dtype(), "rms_norm_backward: dy has x's shape and type");
  core::check(x.rank() >= 1 && weight.shape() == tensor::Shape{x.dim(-1)} && weight.dtype() == x.dtype() &&
                  dweight.shape() == weight.shape() && dweight.dtype() == x.dtype(),
              "rms_norm_backward: x [..., d], weight [d] and dweight [d] of one type");
  return with_element_type(x.dtype(), "rms_norm_backward: x is FP32 or FP64",
                           [&](auto zero) { return backward<decltype(zero)>(dy, x, weight, eps, dweight); });
}

}  // namespace lastbit::ops

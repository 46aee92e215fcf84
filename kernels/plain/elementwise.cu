#include "kernels/plain/layers.h"
#include "kernels/plain/values.h"
#include "kernels/simt/cuda.h"

namespace lastbit::kernels {
namespace {

constexpr unsigned kElementThreads = 128;
constexpr std::size_t kFillEach = 4;

__device__ std::size_t element_index() {
  return static_cast<std::size_t>(blockIdx.x) * blockDim.x + static_cast<std::size_t>(threadIdx.x);
}

__global__ void fill_zero_quads(float* y, std::size_t count) {
  const std::size_t begin = element_index() * kFillEach;
  if (begin + kFillEach <= count) {
    *reinterpret_cast<float4*>(y + begin) = float4{0, 0, 0, 0};
    return;
  }
  for (std::size_t i = begin; i < count; ++i) y[i] = 0;
}

__global__ void copy_elements(Values x, Values y, std::size_t count) {
  const std::size_t i = element_index();
  if (i < count) store_value(y, i, load_value(x, i));
}

__global__ void copy_word_elements(const std::int64_t* x, std::int64_t* y, std::size_t count) {
  const std::size_t i = element_index();
  if (i < count) y[i] = x[i];
}

// One thread an element of y.
__global__ void copy_token_elements(Values x, Values y, TokenCopy shape) {
  const std::size_t i = element_index();
  const auto d = static_cast<std::size_t>(shape.d);
  const auto row_tokens = static_cast<std::size_t>(shape.y_row);
  if (i >= static_cast<std::size_t>(shape.batch) * row_tokens * d) return;
  const std::size_t token = i / d % row_tokens;
  const std::size_t row = i / d / row_tokens;
  const bool inside = token < static_cast<std::size_t>(shape.tokens);
  store_value(y, i, inside ? load_value(x, (row * static_cast<std::size_t>(shape.x_row) + token) * d + i % d) : 0.0F);
}

__global__ void copy_column_elements(Values x, std::size_t x_stride, Values y, std::size_t y_stride, std::size_t rows,
                                     std::size_t cols) {
  const std::size_t i = element_index();
  if (i < rows * cols) store_value(y, i / cols * y_stride + i % cols, load_value(x, i / cols * x_stride + i % cols));
}

__global__ void swiglu_elements(Values gate, Values up, std::size_t count, Values y) {
  const std::size_t i = element_index();
  if (i >= count) return;
  const float g = load_value(gate, i);
  store_value(y, i, __fdiv_rn(g, 1 + expf(-g)) * load_value(up, i));
}

constexpr dim3 kElementBlock{kElementThreads, 1, 1};

}  // namespace

void fill_zero(float* y, std::size_t count) {
  simt::launch({"fill_zero", blocks_of(count, kElementThreads * kFillEach), kElementBlock}, fill_zero_quads, y, count);
}

void copy_values(const Values& x, const Values& y, std::size_t count) {
  simt::launch({"copy_values", blocks_of(count, kElementThreads), kElementBlock}, copy_elements, x, y, count);
}

void copy_words(const std::int64_t* x, std::int64_t* y, std::size_t count) {
  simt::launch({"copy_words", blocks_of(count, kElementThreads), kElementBlock}, copy_word_elements, x, y, count);
}

void copy_tokens(const Values& x, const Values& y, const TokenCopy& shape) {
  const std::size_t count =
      static_cast<std::size_t>(shape.batch) * static_cast<std::size_t>(shape.y_row) * static_cast<std::size_t>(shape.d);
  simt::launch({"copy_tokens", blocks_of(count, kElementThreads), kElementBlock}, copy_token_elements, x, y, shape);
}

void copy_columns(const Values& x, std::int64_t x_stride, const Values& y, std::int64_t y_stride, std::int64_t rows,
                  std::int64_t cols) {
  simt::launch({"copy_columns", blocks_of(static_cast<std::size_t>(rows * cols), kElementThreads), kElementBlock},
               copy_column_elements, x, x_stride, y, y_stride, rows, cols);
}

void swiglu_values(const Values& gate, const Values& up, std::size_t count, const Values& y) {
  simt::launch({"swiglu_values", blocks_of(count, kElementThreads), kElementBlock}, swiglu_elements, gate, up, count,
               y);
}

}  // namespace lastbit::kernels

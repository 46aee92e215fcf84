// Embedding, RMSNorm and rotary embedding on rows.
#include "kernels/numbers/block_sum.h"
#include "kernels/plain/layers.h"
#include "kernels/plain/values.h"
#include "kernels/simt/cuda.h"

namespace lastbit::kernels {
namespace {

constexpr int kRowThreads = 32;
constexpr int kNormThreads = 128;

// One block a token.
__global__ void embedding_rows(const float* table, const std::int64_t* ids, int d, Values y) {
  const int token = static_cast<int>(blockIdx.x);
  const auto begin = static_cast<std::size_t>(ids[token]) * static_cast<std::size_t>(d);
  for (int j = static_cast<int>(threadIdx.x); j < d; j += kRowThreads)
    store_value(y, element_at(token, d, j), table[begin + static_cast<std::size_t>(j)]);
}

// 1 / sqrt(mean(x^2) + eps) of a block's row; `space` as block_sum()'s.
__device__ float norm_factor(const Values& x, int row, const NormShape& shape, float* space) {
  float squares = 0;
  for (int j = static_cast<int>(threadIdx.x); j < shape.d; j += kNormThreads) {
    const float value = load_value(x, element_at(row, shape.x_stride, j));
    squares = __fmaf_rn(value, value, squares);
  }
  const float mean = __fdiv_rn(block_sum<kNormThreads>(squares, space), static_cast<float>(shape.d));
  return __fdiv_rn(1, __fsqrt_rn(mean + shape.eps));
}

// One block a row.
__global__ void __launch_bounds__(kNormThreads)
    rms_norm_values_rows(Values x, const float* weight, NormShape shape, Values y) {
  __shared__ float sums[kNormThreads / 32];
  const int row = static_cast<int>(blockIdx.x);
  const float factor = norm_factor(x, row, shape, sums);
  for (int j = static_cast<int>(threadIdx.x); j < shape.d; j += kNormThreads)
    store_value(y, element_at(row, shape.y_stride, j),
                weight[j] * (load_value(x, element_at(row, shape.x_stride, j)) * factor));
}

// One block a row: with n = x factor and g = dy weight, dx = factor (g - n mean(g n)).
__global__ void __launch_bounds__(kNormThreads)
    rms_norm_gradient_rows(Values dy, Values x, const float* weight, NormShape shape, Values dx, float* factors) {
  __shared__ float sums[2][kNormThreads / 32];
  const int row = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  const float factor = norm_factor(x, row, shape, sums[0]);
  if (thread == 0) factors[row] = factor;
  float dot = 0;
  for (int j = thread; j < shape.d; j += kNormThreads)
    dot = __fmaf_rn(load_value(dy, element_at(row, shape.d, j)) * weight[j],
                    load_value(x, element_at(row, shape.x_stride, j)) * factor, dot);
  const float mean = __fdiv_rn(block_sum<kNormThreads>(dot, sums[1]), static_cast<float>(shape.d));
  for (int j = thread; j < shape.d; j += kNormThreads) {
    const float n = load_value(x, element_at(row, shape.x_stride, j)) * factor;
    const float g = load_value(dy, element_at(row, shape.d, j)) * weight[j];
    store_value(dx, element_at(row, shape.y_stride, j), factor * (g - n * mean));
  }
}

// One thread a column.
__global__ void norm_weight_gradient(Values dy, Values x, const float* factors, NormShape shape, float* dweight) {
  const int j = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (j >= shape.d) return;
  float sum = 0;
  for (int row = 0; row < shape.rows; ++row)
    sum += load_value(dy, element_at(row, shape.d, j)) *
           (load_value(x, element_at(row, shape.x_stride, j)) * factors[row]);
  dweight[j] += sum;
}

// One thread a pair.
__global__ void turn_pairs(RotaryPart from, RotaryPart to, const float* cosines, const float* sines, TurnShape shape,
                           RopeLayout layout, bool back) {
  const int half = shape.dim / 2;
  const std::size_t index = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const auto pairs = static_cast<std::size_t>(half);
  const auto heads = static_cast<std::size_t>(shape.heads);
  if (index >= static_cast<std::size_t>(shape.tokens) * heads * pairs) return;
  const int j = static_cast<int>(index % pairs);
  const int head = static_cast<int>(index / pairs % heads);
  const int token = static_cast<int>(index / pairs / heads);
  const bool halves_before = layout == RopeLayout::kHalfSplit;
  const bool halves_after = layout != RopeLayout::kInterleaved;
  // Where the pair lies in what is read and in what is written.
  const bool from_halves = back ? halves_after : halves_before;
  const bool to_halves = back ? halves_before : halves_after;
  const auto at = [&](const RotaryPart& part, int element) {
    return static_cast<std::size_t>(token * part.token_stride + head * part.head_stride + part.first + element);
  };
  const float a = load_value(from.values, at(from, from_halves ? j : 2 * j));
  const float b = load_value(from.values, at(from, from_halves ? j + half : 2 * j + 1));
  const std::size_t angle = element_at(token, half, j);
  const float c = cosines[angle];
  const float s = back ? -sines[angle] : sines[angle];
  store_value(to.values, at(to, to_halves ? j : 2 * j), a * c - b * s);
  store_value(to.values, at(to, to_halves ? j + half : 2 * j + 1), b * c + a * s);
}

dim3 block_of(int threads) { return dim3{static_cast<unsigned>(threads), 1, 1}; }
dim3 rows_of(int count) { return dim3{static_cast<unsigned>(count), 1, 1}; }
dim3 threads_for(std::size_t count) { return blocks_of(count, kRowThreads); }

}  // namespace

void embedding_values(const float* table, const std::int64_t* ids, int tokens, int d, const Values& y) {
  simt::launch({"embedding_values", rows_of(tokens), block_of(kRowThreads)}, embedding_rows, table, ids, d, y);
}

void rms_norm_values(const Values& x, const float* weight, const NormShape& shape, const Values& y) {
  simt::launch({"rms_norm_values", rows_of(shape.rows), block_of(kNormThreads)}, rms_norm_values_rows, x, weight, shape,
               y);
}

void rms_norm_gradient(const Values& dy, const Values& x, const float* weight, const NormShape& shape, const Values& dx,
                       float* dweight, float* factors) {
  simt::launch({"rms_norm_gradient", rows_of(shape.rows), block_of(kNormThreads)}, rms_norm_gradient_rows, dy, x,
               weight, shape, dx, factors);
  simt::launch({"norm_weight_gradient", threads_for(static_cast<std::size_t>(shape.d)), block_of(kRowThreads)},
               norm_weight_gradient, dy, x, factors, shape, dweight);
}

void turn_heads(const RotaryPart& from, const RotaryPart& to, const float* cosines, const float* sines,
                const TurnShape& shape, RopeLayout layout, bool back) {
  const std::size_t pairs = static_cast<std::size_t>(shape.tokens) * static_cast<std::size_t>(shape.heads) *
                            static_cast<std::size_t>(shape.dim / 2);
  simt::launch({"turn_heads", threads_for(pairs), block_of(kRowThreads)}, turn_pairs, from, to, cosines, sines, shape,
               layout, back);
}

}  // namespace lastbit::kernels

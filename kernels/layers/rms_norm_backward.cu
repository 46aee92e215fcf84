#include "kernels/layers/layer_gradients.h"
#include "kernels/numbers/block_sum.h"
#include "kernels/numbers/lane_sum.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;

// 1 / sqrt(sum / d + eps), rounded once behind a division and an addition.
__device__ float norm_factor(float squares, int d, float eps) {
  const float mean = __fdiv_rn(squares, static_cast<float>(d)) + eps;
  return static_cast<float>(1 / sqrt(static_cast<double>(mean)));
}

// What stands at column i of a row.
struct NormTerm {
  float normed;
  float weighted;
};
template <typename T>
__device__ NormTerm norm_term(const RmsNormBackward<T>& call, std::size_t begin, int i, float factor) {
  const std::size_t at = begin + static_cast<std::size_t>(i);
  return {load_value(call.x + at) * factor, load_value(call.dy + at) * load_value(call.weight + i)};
}

template <typename T>
__device__ void store_dx(const RmsNormBackward<T>& call, std::size_t begin, int i, float factor, float mean) {
  const NormTerm term = norm_term(call, begin, i, factor);
  store_value(call.dx + begin + static_cast<std::size_t>(i), factor * (term.weighted - term.normed * mean));
}

// v0: one thread a row.
template <typename T>
__global__ void norm_rows_v0(RmsNormBackward<T> call) {
  const int row = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= call.tokens) return;
  const std::size_t begin = static_cast<std::size_t>(row) * static_cast<std::size_t>(call.d);
  const float factor = norm_factor(lane_dot(call.x + begin, call.x + begin, call.d), call.d, call.eps);
  LaneSum<float> sum = {};
  for (int i = 0; i < call.d; ++i) {
    const NormTerm term = norm_term(call, begin, i, factor);
    sum.add(static_cast<std::size_t>(i), __fmul_rn(term.weighted, term.normed));
  }
  const float mean = __fdiv_rn(sum.total(), static_cast<float>(call.d));
  for (int i = 0; i < call.d; ++i) store_dx(call, begin, i, factor, mean);
  call.factors[row] = factor;
}

// One block a row.
template <typename T>
__global__ void __launch_bounds__(kThreads) norm_rows(RmsNormBackward<T> call) {
  __shared__ float squares_of_warps[kThreads / 32];
  __shared__ float dots_of_warps[kThreads / 32];
  const std::size_t begin = static_cast<std::size_t>(blockIdx.x) * static_cast<std::size_t>(call.d);
  float squares = 0;
  for (int i = static_cast<int>(threadIdx.x); i < call.d; i += kThreads) {
    const float x = load_value(call.x + begin + static_cast<std::size_t>(i));
    squares = __fmaf_rn(x, x, squares);
  }
  const float factor = norm_factor(block_sum<kThreads>(squares, squares_of_warps), call.d, call.eps);
  float dot = 0;
  for (int i = static_cast<int>(threadIdx.x); i < call.d; i += kThreads) {
    const NormTerm term = norm_term(call, begin, i, factor);
    dot = __fmaf_rn(term.weighted, term.normed, dot);
  }
  const float mean = __fdiv_rn(block_sum<kThreads>(dot, dots_of_warps), static_cast<float>(call.d));
  for (int i = static_cast<int>(threadIdx.x); i < call.d; i += kThreads) store_dx(call, begin, i, factor, mean);
  if (threadIdx.x == 0) call.factors[blockIdx.x] = factor;
}

// The sum of dy n over a block of rows at one column.
template <typename T>
__device__ float gain_of_rows(const RmsNormBackward<T>& call, int block, int col) {
  float sum = 0;
  for (int row = block * kNormRows; row < min((block + 1) * kNormRows, call.tokens); ++row) {
    const std::size_t at =
        static_cast<std::size_t>(row) * static_cast<std::size_t>(call.d) + static_cast<std::size_t>(col);
    sum += load_value(call.dy + at) * (load_value(call.x + at) * call.factors[row]);
  }
  return sum;
}

// A thread a column; v0: of one block of rows after the other, else of block blockIdx.y.
template <typename T>
__global__ void norm_gains_v0(RmsNormBackward<T> call) {
  const int col = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (col >= call.d) return;
  for (int block = 0; block * kNormRows < call.tokens; ++block)
    call.partials[block * call.d + col] = gain_of_rows(call, block, col);
}
template <typename T>
__global__ void norm_gains(RmsNormBackward<T> call) {
  const int col = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int block = static_cast<int>(blockIdx.y);
  if (col < call.d) call.partials[block * call.d + col] = gain_of_rows(call, block, col);
}

template <typename T>
__global__ void add_gains(RmsNormBackward<T> call) {
  const int col = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (col >= call.d) return;
  float total = 0;
  for (int block = 0; block * kNormRows < call.tokens; ++block) total += call.partials[block * call.d + col];
  call.dweight[col] += total;
}

}  // namespace

template <typename T>
void rms_norm_backward(const RmsNormBackward<T>& call, Version version) {
  const auto blocks = [](int count, int each) { return static_cast<unsigned>((count + each - 1) / each); };
  const unsigned cols = blocks(call.d, kThreads);
  const dim3 block{kThreads, 1, 1};
  if (version == Version::kObvious) {
    simt::launch({"norm_rows", dim3{blocks(call.tokens, 32), 1, 1}, dim3{32, 1, 1}}, norm_rows_v0<T>, call);
    simt::launch({"norm_gains", dim3{cols, 1, 1}, block}, norm_gains_v0<T>, call);
  } else {
    simt::launch({"norm_rows", dim3{static_cast<unsigned>(call.tokens), 1, 1}, block}, norm_rows<T>, call);
    simt::launch({"norm_gains", dim3{cols, blocks(call.tokens, kNormRows), 1}, block}, norm_gains<T>, call);
  }
  simt::launch({"add_gains", dim3{cols, 1, 1}, block}, add_gains<T>, call);
}

template void rms_norm_backward<float>(const RmsNormBackward<float>& call, Version version);
template void rms_norm_backward<std::uint16_t>(const RmsNormBackward<std::uint16_t>& call, Version version);

}  // namespace lastbit::kernels

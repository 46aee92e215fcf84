#include "kernels/layers/layers.h"
#include "kernels/numbers/bf16.h"
#include "kernels/numbers/block_sum.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;

// v0: one thread a row.
__global__ void rms_norm_v0(const std::uint16_t* x, const std::uint16_t* weight, int tokens, int d, float eps,
                            std::uint16_t* y) {
  const int row = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= tokens) return;
  const std::size_t begin = static_cast<std::size_t>(row) * static_cast<std::size_t>(d);
  float squares = 0;
  for (int i = 0; i < d; ++i) {
    const float value = bf16_value(x[begin + static_cast<std::size_t>(i)]);
    squares = __fmaf_rn(value, value, squares);
  }
  const float factor = __fdiv_rn(1, __fsqrt_rn(__fdiv_rn(squares, static_cast<float>(d)) + eps));
  for (int i = 0; i < d; ++i) {
    const std::size_t at = begin + static_cast<std::size_t>(i);
    y[at] = bf16_code(bf16_value(x[at]) * factor * bf16_value(weight[i]));
  }
}

// One block a row.
__global__ void __launch_bounds__(kThreads)
    rms_norm_rows(const std::uint16_t* x, const std::uint16_t* weight, int d, float eps, std::uint16_t* y) {
  __shared__ float sums[kThreads / 32];
  const std::size_t begin = static_cast<std::size_t>(blockIdx.x) * static_cast<std::size_t>(d);
  float squares = 0;
  for (int i = static_cast<int>(threadIdx.x); i < d; i += kThreads) {
    const float value = bf16_value(x[begin + static_cast<std::size_t>(i)]);
    squares = __fmaf_rn(value, value, squares);
  }
  squares = block_sum<kThreads>(squares, sums);
  const float factor = __fdiv_rn(1, __fsqrt_rn(__fdiv_rn(squares, static_cast<float>(d)) + eps));
  for (int i = static_cast<int>(threadIdx.x); i < d; i += kThreads) {
    const std::size_t at = begin + static_cast<std::size_t>(i);
    y[at] = bf16_code(bf16_value(x[at]) * factor * bf16_value(weight[i]));
  }
}

}  // namespace

void rms_norm(const std::uint16_t* x, const std::uint16_t* weight, int tokens, int d, float eps, std::uint16_t* y,
              Version version) {
  if (version == Version::kObvious)
    simt::launch({"rms_norm", dim3{static_cast<unsigned>((tokens + 31) / 32), 1, 1}, dim3{32, 1, 1}}, rms_norm_v0, x,
                 weight, tokens, d, eps, y);
  else
    simt::launch({"rms_norm", dim3{static_cast<unsigned>(tokens), 1, 1}, dim3{kThreads, 1, 1}}, rms_norm_rows, x,
                 weight, d, eps, y);
}

}  // namespace lastbit::kernels

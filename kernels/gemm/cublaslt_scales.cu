#include "kernels/gemm/cublaslt_scales.h"
#include "kernels/simt/cuda.h"

namespace lastbit::kernels {
namespace {

constexpr int kScaleThreads = 128;

// One thread an element of either result.
__global__ void place_scales(int m, int blocks_n, int blocks_k, int stride_b, const float* from_a, const float* from_b,
                             float* to_a, float* to_b) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < m * blocks_k) to_a[i] = from_a[i % m * blocks_k + i / m];
  if (i < blocks_n * stride_b) {
    const int block = i % stride_b;
    to_b[i] = block < blocks_k ? from_b[i / stride_b * blocks_k + block] : 0;
  }
}

}  // namespace

void scales_for_cublaslt(const CublasltScales& scales, const float* from_a, const float* from_b, float* to_a,
                         float* to_b) {
  const std::int64_t most = scales.count_a() > scales.count_b() ? scales.count_a() : scales.count_b();
  const auto blocks = static_cast<unsigned>((most + kScaleThreads - 1) / kScaleThreads);
  simt::launch({"place_scales", dim3{blocks, 1, 1}, dim3{kScaleThreads, 1, 1}}, place_scales, scales.m,
               scales.blocks_n(), scales.blocks_k(), scales.stride_b(), from_a, from_b, to_a, to_b);
}

}  // namespace lastbit::kernels

// Kernels that executor_bench runs, with the executor's checks; executor_kernels_unchecked.cu is the same without them.
#include "executor_kernels.h"
#include "kernels/simt/cuda.h"

#ifndef LASTBIT_BENCH_VARIANT
#define LASTBIT_BENCH_VARIANT checked
#endif

namespace lastbit::bench::LASTBIT_BENCH_VARIANT {
namespace {

constexpr int kTile = 16;

// d [n, n] = a b^T of FP32 by tiles in shared memory; n is a multiple of 16.
__global__ void multiply_tiles(const float* a, const float* b, float* d, int n) {
  __shared__ float tile_a[kTile][kTile + 1];
  __shared__ float tile_b[kTile][kTile + 1];
  const int x = static_cast<int>(threadIdx.x);
  const int y = static_cast<int>(threadIdx.y);
  const int row = static_cast<int>(blockIdx.y) * kTile + y;
  const int col = static_cast<int>(blockIdx.x) * kTile + y;
  float sum = 0;
  for (int k = 0; k < n; k += kTile) {
    tile_a[y][x] = a[row * n + k + x];
    tile_b[y][x] = b[col * n + k + x];
    __syncthreads();
    for (int i = 0; i < kTile; ++i) sum += tile_a[y][i] * tile_b[x][i];
    __syncthreads();
  }
  d[row * n + static_cast<int>(blockIdx.x) * kTile + x] = sum;
}

__global__ void add_arrays(const float* a, const float* b, float* d, int n) {
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < n;
       i += static_cast<int>(gridDim.x * blockDim.x))
    d[i] = a[i] + b[i];
}

__global__ void sum_by_warps(const float* a, const float*, float* d, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  float sum = i < n ? a[i] : 0;
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, lanes);
  if (threadIdx.x % 32 == 0) d[i / 32] = sum;
}

}  // namespace

void run_multiply(const float* a, const float* b, float* d, int n) {
  const auto tiles = static_cast<unsigned>(n / kTile);
  simt::launch({"multiply_tiles", dim3{tiles, tiles}, dim3{kTile, kTile}}, multiply_tiles, a, b, d, n);
}
void run_add(const float* a, const float* b, float* d, int n) {
  simt::launch({"add_arrays", dim3{8}, dim3{256}}, add_arrays, a, b, d, n);
}
void run_sum(const float* a, const float* b, float* d, int n) {
  simt::launch({"sum_by_warps", dim3{static_cast<unsigned>((n + 255) / 256)}, dim3{256}}, sum_by_warps, a, b, d, n);
}

}  // namespace lastbit::bench::LASTBIT_BENCH_VARIANT

#include "kernels/gemm/gemm_place.h"

namespace lastbit::kernels {
namespace {

constexpr int kBlockK = 256;  // kMatmulBlockK of numerics/matmul.h

// The sums of an output: the chain of the block of K under way, and all blocks before.
struct BlockedSum {
  float partial;
  float total;
  bool empty;  // `total` has no value yet, which +0 is not: -0 + -0 is -0
};
__device__ BlockedSum begin_sum(const Fp32Gemm& gemm, std::size_t at) {
  return gemm.accumulate ? BlockedSum{0, load_d(gemm, at), false} : BlockedSum{0, 0, true};
}
__device__ void end_block(BlockedSum& sum) {
  sum.total = sum.empty ? sum.partial : __fadd_rn(sum.total, sum.partial);
  sum.partial = 0;
  sum.empty = false;
}

// v0: one thread an output.
__global__ void fp32_gemm_v0(Fp32Gemm gemm) {
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const bool by_group = gemm.role == GemmRole::kTn;
  if (index >= gemm.m * gemm.n * (by_group ? gemm.groups : 1)) return;
  const int row = index / gemm.n % gemm.m;
  const int col = index % gemm.n;
  int group = by_group ? index / gemm.n / gemm.m : 0;
  if (!by_group)
    while (row >= rows_of_group(gemm, group).end) ++group;
  const GemmOperand<float> a = operand_a(gemm, group);
  const GemmOperand<float> b = operand_b(gemm, group);
  const int depth = depth_of_group(gemm, group);
  const std::size_t at = place_in_d(gemm, group, row, col);
  BlockedSum sum = begin_sum(gemm, at);
  for (int k = 0; k < depth; ++k) {
    sum.partial = __fmaf_rn(a.at(row, k), b.at(col, k), sum.partial);
    if (k % kBlockK == kBlockK - 1 || k == depth - 1) end_block(sum);
  }
  store_d(gemm, at, sum.total);
}

constexpr int kTileRows = 32;
constexpr int kTileCols = 64;
constexpr int kDepth = 16;  // of K in shared memory at once; divides kBlockK
constexpr int kThreads = 128;
constexpr int kEach = 4;  // rows and columns of a thread
constexpr int kThreadsARow = kTileCols / kEach;

// Elements [row, row + rows) by [k, k + depth) of an operand, k outside; neighbouring threads at neighbouring
// addresses.
template <int kStride>
__device__ void load_tile(float (&tile)[kDepth][kStride], const GemmOperand<float>& operand, int row, int rows, int k,
                          int depth) {
  constexpr int kRows = kStride - kEach;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kDepth; i += kThreads) {
    const int r = operand.k_stride == 1 ? i / kDepth : i % kRows;
    const int c = operand.k_stride == 1 ? i % kDepth : i / kRows;
    tile[c][r] = r < rows && c < depth ? operand.at(row + r, k + c) : 0;
  }
}

// One step of K for the 4 x 4 outputs of a thread.
__device__ void multiply_step(const float* a, const float* b, float (&partial)[kEach][kEach]) {
  const float4 x = *reinterpret_cast<const float4*>(a);
  const float4 y = *reinterpret_cast<const float4*>(b);
  const float rows[kEach] = {x.x, x.y, x.z, x.w};
  const float cols[kEach] = {y.x, y.y, y.z, y.w};
#pragma unroll
  for (int i = 0; i < kEach; ++i)
#pragma unroll
    for (int j = 0; j < kEach; ++j) partial[i][j] = __fmaf_rn(rows[i], cols[j], partial[i][j]);
}

// Tiles of 32 x 64 outputs, 4 x 4 a thread, operands by way of shared memory.
__global__ void __launch_bounds__(kThreads) fp32_gemm_tiles(Fp32Gemm gemm) {
  alignas(16) __shared__ float tile_a[kDepth][kTileRows + kEach];
  alignas(16) __shared__ float tile_b[kDepth][kTileCols + kEach];
  const GemmPlace place = place_of_block(gemm, kTileRows, kTileCols);
  if (place.rows <= 0) return;  // the whole block
  const GemmOperand<float> a = operand_a(gemm, place.group);
  const GemmOperand<float> b = operand_b(gemm, place.group);
  const int depth = depth_of_group(gemm, place.group);
  const int row = static_cast<int>(threadIdx.x) / kThreadsARow * kEach;
  const int col = static_cast<int>(threadIdx.x) % kThreadsARow * kEach;
  float partial[kEach][kEach] = {};
  BlockedSum sums[kEach][kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i)
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const bool inside = row + i < place.rows && col + j < place.cols;
      sums[i][j] = inside ? begin_sum(gemm, place_in_d(gemm, place.group, place.row + row + i, place.col + col + j))
                          : BlockedSum{0, 0, true};
    }
  for (int k = 0; k < depth; k += kDepth) {
    const int steps = min(kDepth, depth - k);
    load_tile(tile_a, a, place.row, place.rows, k, steps);
    load_tile(tile_b, b, place.col, place.cols, k, steps);
    __syncthreads();
    for (int c = 0; c < steps; ++c) multiply_step(&tile_a[c][row], &tile_b[c][col], partial);
    __syncthreads();
    if ((k + kDepth) % kBlockK != 0 && k + kDepth < depth) continue;
#pragma unroll
    for (int i = 0; i < kEach; ++i)
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        sums[i][j].partial = partial[i][j];
        end_block(sums[i][j]);
        partial[i][j] = 0;
      }
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i)
#pragma unroll
    for (int j = 0; j < kEach; ++j)
      if (row + i < place.rows && col + j < place.cols)
        store_d(gemm, place_in_d(gemm, place.group, place.row + row + i, place.col + col + j), sums[i][j].total);
}

}  // namespace

void fp32_gemm(const Fp32Gemm& gemm, Version version) {
  if (version == Version::kObvious) {
    const int outputs = gemm.m * gemm.n * (gemm.role == GemmRole::kTn ? gemm.groups : 1);
    simt::launch({"fp32_gemm", dim3{static_cast<unsigned>((outputs + 63) / 64), 1, 1}, dim3{64, 1, 1}}, fp32_gemm_v0,
                 gemm);
    return;
  }
  simt::launch({"fp32_gemm", grid_of_tiles(gemm, kTileRows, kTileCols), dim3{kThreads, 1, 1}}, fp32_gemm_tiles, gemm);
}

}  // namespace lastbit::kernels

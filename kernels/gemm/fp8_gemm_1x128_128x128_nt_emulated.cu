#include "kernels/gemm/hopper_step.h"
#include "kernels/gemm/promotion.h"

namespace lastbit::kernels {
namespace {

__device__ Fp8Format format_a(const Fp8Gemm& gemm) { return fp8_format(gemm.a_e5m2); }
__device__ Fp8Format format_b(const Fp8Gemm& gemm) { return fp8_format(gemm.b_e5m2); }
__device__ int product_bits(const Fp8Gemm& gemm) { return format_a(gemm).fraction_bits + format_b(gemm).fraction_bits; }

__device__ const std::uint8_t* row_of(const std::uint8_t* codes, int row, int k) {
  return codes + static_cast<std::size_t>(row) * static_cast<std::size_t>(k);
}

// v0: one thread an output, operands taken apart again for each.
__global__ void gemm_v0(Fp8Gemm gemm) {
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= gemm.m * gemm.n) return;
  const int row = index / gemm.n;
  const int col = index % gemm.n;
  const int group = group_of_row(gemm, row);
  if (group < 0) return store_output(gemm, row, col, 0);
  const std::uint8_t* const a = row_of(gemm.a, row, gemm.k);
  const std::uint8_t* const b = row_of(gemm.b, group * gemm.n + col, gemm.k);
  float y = 0;
  float partial = 0;
  for (int k = 0; k < gemm.k; k += kStepDepth) {
    StepOperand operands_a[kStepDepth];
    StepOperand operands_b[kStepDepth];
    const int count = min(kStepDepth, gemm.k - k);
    for (int i = 0; i < count; ++i) {
      operands_a[i] = step_operand(a[k + i], format_a(gemm));
      operands_b[i] = step_operand(b[k + i], format_b(gemm));
    }
    partial = hopper_step({operands_a, 1}, {operands_b, 1}, count, product_bits(gemm), partial);
    const int next = k + kStepDepth;
    if (gemm.promotion == PromotionOrder::kNone) {
      y = partial;
    } else if (next % gemm.promote_every == 0 || next >= gemm.k) {
      const int block = k / kScaleBlock;
      y = promote(gemm.promotion, partial, scale_of_a(gemm, row, block), scale_of_b(gemm, group, col, block), y);
      partial = 0;
    }
  }
  store_output(gemm, row, col, y);
}

constexpr int kTile = 32;  // rows and columns of D a block
constexpr int kThreads = 128;
constexpr int kOutputs = kTile * kTile / kThreads;  // a thread: one column, every fourth row

// Rows of the tile by group: a block of D meets one group of B after the other.
__device__ int next_group(const int (&groups)[kTile], int after) {
  int next = 1 << 30;
  for (int i = 0; i < kTile; ++i)
    if (groups[i] > after && groups[i] < next) next = groups[i];
  return next;
}

// The accumulators of a thread: chained through the tensor core, and promoted.
struct Sums {
  float partial[kOutputs];
  float y[kOutputs];
};

// One step of K for a thread's outputs whose row meets `group`.
__device__ void step_outputs(const Fp8Gemm& gemm, const StepOperand (&tile_a)[kTile][kStepDepth + 2],
                             const StepOperand (&tile_b)[kTile][kStepDepth + 2], const int (&groups)[kTile], int group,
                             int k, Sums& sums) {
  const int col = static_cast<int>(threadIdx.x) % kTile;
  const int first = static_cast<int>(threadIdx.x) / kTile;
  const int next = k + kStepDepth;
  const bool ends = next % gemm.promote_every == 0 || next >= gemm.k;
  const int tile_row = static_cast<int>(blockIdx.y) * kTile;
  const int tile_col = static_cast<int>(blockIdx.x) * kTile;
  for (int i = 0; i < kOutputs; ++i) {
    const int row = first + i * (kThreads / kTile);
    if (groups[row] != group || tile_col + col >= gemm.n) continue;
    sums.partial[i] = hopper_step({tile_a[row], 1}, {tile_b[col], 1}, kStepDepth, product_bits(gemm), sums.partial[i]);
    if (gemm.promotion == PromotionOrder::kNone) {
      sums.y[i] = sums.partial[i];
    } else if (ends) {
      const int block = k / kScaleBlock;
      sums.y[i] = promote(gemm.promotion, sums.partial[i], scale_of_a(gemm, tile_row + row, block),
                          scale_of_b(gemm, group, tile_col + col, block), sums.y[i]);
      sums.partial[i] = 0;
    }
  }
}

// Steps of 32 rows of codes into shared memory, taken apart; rows that are not there, and K behind its end, are zeros.
__device__ void load_step(StepOperand (&tile)[kTile][kStepDepth + 2], const std::uint8_t* codes, int row, int rows,
                          int k, int depth, const Fp8Format& format) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kStepDepth; i += kThreads) {
    const int r = i / kStepDepth;
    const int c = i % kStepDepth;
    const bool inside = r < rows && k + c < depth;
    tile[r][c] = inside ? step_operand(row_of(codes, row + r, depth)[k + c], format)
                        : StepOperand{0, static_cast<signed char>(kZeroOperand)};
  }
}

// Tiles of 32 x 32 outputs: operands are taken apart once a tile, in shared memory.
__global__ void __launch_bounds__(kThreads) gemm_tiles(Fp8Gemm gemm) {
  __shared__ StepOperand tile_a[kTile][kStepDepth + 2];
  __shared__ StepOperand tile_b[kTile][kStepDepth + 2];
  __shared__ int groups[kTile];
  const int row = static_cast<int>(blockIdx.y) * kTile;
  const int col = static_cast<int>(blockIdx.x) * kTile;
  const int rows = min(kTile, gemm.m - row);
  const int cols = min(kTile, gemm.n - col);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < kTile) groups[thread] = thread < rows ? group_of_row(gemm, row + thread) : -1;
  __syncthreads();
  Sums sums = {};
  for (int group = next_group(groups, -1); group < gemm.groups; group = next_group(groups, group))
    for (int k = 0; k < gemm.k; k += kStepDepth) {
      load_step(tile_a, gemm.a, row, rows, k, gemm.k, format_a(gemm));
      load_step(tile_b, gemm.b, group * gemm.n + col, cols, k, gemm.k, format_b(gemm));
      __syncthreads();
      step_outputs(gemm, tile_a, tile_b, groups, group, k, sums);
      __syncthreads();
    }
  for (int i = 0; i < kOutputs; ++i) {
    const int r = thread / kTile + i * (kThreads / kTile);
    const int c = thread % kTile;
    if (r < rows && c < cols) store_output(gemm, row + r, col + c, sums.y[i]);
  }
}

}  // namespace

void fp8_gemm_1x128_128x128_nt_emulated(const Fp8Gemm& gemm, Version version) {
  if (version == Version::kObvious) {
    const auto outputs = static_cast<unsigned>(gemm.m * gemm.n);
    simt::launch({"fp8_gemm_emulated", dim3{(outputs + 63) / 64, 1, 1}, dim3{64, 1, 1}}, gemm_v0, gemm);
    return;
  }
  const dim3 grid{static_cast<unsigned>((gemm.n + kTile - 1) / kTile),
                  static_cast<unsigned>((gemm.m + kTile - 1) / kTile), 1};
  simt::launch({"fp8_gemm_emulated", grid, dim3{kThreads, 1, 1}}, gemm_tiles, gemm);
}

}  // namespace lastbit::kernels

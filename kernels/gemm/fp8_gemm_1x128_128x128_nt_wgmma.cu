#include "kernels/arch/async_copy.h"
#include "kernels/arch/barriers.h"
#include "kernels/arch/wgmma.h"
#include "kernels/gemm/promotion.h"
#include "kernels/gemm/wgmma_shape.h"

namespace lastbit::kernels {
namespace {

constexpr int kTileRows = 64;  // of D a block: one warpgroup's
constexpr int kTileCols = 128;
constexpr int kDepth = 128;      // bytes of K a stage: one scale block
constexpr int kConsumers = 128;  // threads of the warpgroup
constexpr int kSums = kTileRows * kTileCols / kConsumers;
constexpr unsigned kBytesA = kTileRows * kDepth;
constexpr unsigned kStageBytes = kBytesA + kTileCols * kDepth;

struct Operands {
  arch::TensorMap a;
  arch::TensorMap b;
};

__device__ int depth_blocks(const Fp8Gemm& gemm) { return (gemm.k + kDepth - 1) / kDepth; }

// By one thread: both operands' boxes of block `block` of K, to where `full` waits for them.
__device__ void load_stage(unsigned char* stage, const Operands& operands, std::uint64_t* full, int block) {
  arch::mbarrier_arrive_expect(full, kStageBytes);
  arch::tma_load(stage, &operands.a, full, static_cast<int>(blockIdx.y) * kTileRows, block * kDepth);
  arch::tma_load(stage + kBytesA, &operands.b, full, static_cast<int>(blockIdx.x) * kTileCols, block * kDepth);
}

// By the warpgroup: partial = the stage's product, added to what it was where `accumulate`.
__device__ void multiply_stage(const unsigned char* stage, bool accumulate, float (&partial)[kSums]) {
  arch::wgmma_fence();
  for (int k = 0; k < kDepth; k += arch::kWgmmaBytes)
    arch::wgmma_m64n128k32_e4m3(partial, arch::wgmma_descriptor(stage, k), arch::wgmma_descriptor(stage + kBytesA, k),
                                accumulate || k > 0);
  arch::wgmma_commit();
  arch::wgmma_wait<0>();
}

__device__ void promote_stage(const Fp8Gemm& gemm, int thread, int block, const float (&partial)[kSums],
                              float (&y)[kSums]) {
  const int first_row = static_cast<int>(blockIdx.y) * kTileRows;
  const int first_col = static_cast<int>(blockIdx.x) * kTileCols;
  const float scale_b = scale_of_b(gemm, 0, first_col, block);  // the tile lies in one block of 128 columns
  float scale_a[2];
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + arch::wgmma_place(thread, 2 * half).row;
    scale_a[half] = row < gemm.m ? scale_of_a(gemm, row, block) : 1.0F;
  }
#pragma unroll
  for (int i = 0; i < kSums; ++i)
    y[i] = gemm.promotion == PromotionOrder::kNone
               ? partial[i]
               : promote(gemm.promotion, partial[i], scale_a[i / 2 % 2], scale_b, y[i]);
}

__device__ void store_tile(const Fp8Gemm& gemm, int thread, const float (&y)[kSums]) {
#pragma unroll
  for (int i = 0; i < kSums; ++i) {
    const arch::WgmmaPlace place = arch::wgmma_place(thread, i);
    const int row = static_cast<int>(blockIdx.y) * kTileRows + place.row;
    const int col = static_cast<int>(blockIdx.x) * kTileCols + place.col;
    if (row < gemm.m && col < gemm.n) store_output(gemm, row, col, y[i]);
  }
}

// v0: one stage; load, wait, multiply, promote.
__global__ void __launch_bounds__(kConsumers) wgmma_v0(Fp8Gemm gemm, const __grid_constant__ Operands operands) {
  unsigned char* const stage = simt::dynamic_shared();
  auto* const full = reinterpret_cast<std::uint64_t*>(stage + kStageBytes);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    arch::mbarrier_init(full, 1);
    arch::fence_mbarrier_init();
  }
  __syncthreads();
  float y[kSums] = {};
  float partial[kSums] = {};
  for (int block = 0; block < depth_blocks(gemm); ++block) {
    if (thread == 0) load_stage(stage, operands, full, block);
    arch::mbarrier_wait(full, static_cast<unsigned>(block) & 1U);
    multiply_stage(stage, gemm.promotion == PromotionOrder::kNone && block > 0, partial);
    promote_stage(gemm, thread, block, partial, y);
    __syncthreads();
  }
  store_tile(gemm, thread, y);
}

// A warp that loads, four stages ahead, and a warpgroup that multiplies and promotes: `full` of a stage says that its
// boxes are there, `empty` that all of the warpgroup have done with them.
constexpr int kStages = 4;
constexpr int kPipelineThreads = kConsumers + 32;

struct Pipeline {
  unsigned char* stages;
  std::uint64_t* full;
  std::uint64_t* empty;

  __device__ unsigned char* stage(int block) const { return stages + block % kStages * kStageBytes; }
  // How often a stage was filled before, as a phase's parity.
  __device__ static unsigned parity(int block) { return static_cast<unsigned>(block / kStages) & 1U; }
};

__device__ Pipeline make_pipeline() {
  unsigned char* const stages = simt::dynamic_shared();
  auto* const barriers = reinterpret_cast<std::uint64_t*>(stages + kStages * kStageBytes);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      arch::mbarrier_init(barriers + i, 1);
      arch::mbarrier_init(barriers + kStages + i, kConsumers);
    }
    arch::fence_mbarrier_init();
  }
  __syncthreads();
  return {stages, barriers, barriers + kStages};
}

__global__ void __launch_bounds__(kPipelineThreads)
    wgmma_pipelined(Fp8Gemm gemm, const __grid_constant__ Operands operands) {
  const Pipeline pipeline = make_pipeline();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread >= kConsumers) {
    if (thread > kConsumers) return;
    for (int block = 0; block < depth_blocks(gemm); ++block) {
      if (block >= kStages) arch::mbarrier_wait(pipeline.empty + block % kStages, pipeline.parity(block) ^ 1U);
      load_stage(pipeline.stage(block), operands, pipeline.full + block % kStages, block);
    }
    return;
  }
  float y[kSums] = {};
  float partial[kSums] = {};
  for (int block = 0; block < depth_blocks(gemm); ++block) {
    arch::mbarrier_wait(pipeline.full + block % kStages, pipeline.parity(block));
    multiply_stage(pipeline.stage(block), gemm.promotion == PromotionOrder::kNone && block > 0, partial);
    arch::mbarrier_arrive(pipeline.empty + block % kStages);
    promote_stage(gemm, thread, block, partial, y);
  }
  store_tile(gemm, thread, y);
}

}  // namespace

void fp8_gemm_1x128_128x128_nt_wgmma(const Fp8Gemm& gemm, Version version) {
  require_wgmma_shape(gemm);
  const auto map = [&](const std::uint8_t* codes, int rows, unsigned box_rows) {
    return arch::make_tensor_map(
        codes, {static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(gemm.k), box_rows, kDepth, true});
  };
  const Operands operands{map(gemm.a, gemm.m, kTileRows), map(gemm.b, gemm.n, kTileCols)};
  const dim3 grid{static_cast<unsigned>((gemm.n + kTileCols - 1) / kTileCols),
                  static_cast<unsigned>((gemm.m + kTileRows - 1) / kTileRows), 1};
  if (version == Version::kObvious)
    simt::launch({"fp8_gemm_wgmma", grid, dim3{kConsumers, 1, 1}, kStageBytes + 8}, wgmma_v0, gemm, operands);
  else
    simt::launch({"fp8_gemm_wgmma", grid, dim3{kPipelineThreads, 1, 1}, kStages * (kStageBytes + 16)}, wgmma_pipelined,
                 gemm, operands);
}

}  // namespace lastbit::kernels

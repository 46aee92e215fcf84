#include "kernels/plain/gemm.h"
#include "kernels/plain/values.h"
#include "kernels/simt/cuda.h"

namespace lastbit::kernels {
namespace {

constexpr int kTile = 32;   // rows and columns of a block
constexpr int kDepth = 16;  // of a step along K
constexpr int kOwn = 4;     // rows and columns of a thread
constexpr int kSide = kTile / kOwn;
constexpr int kGemmThreads = kSide * kSide;

// Where a block works: tile's first row and column, the rows' end, and the range of K.
struct GemmPlace {
  std::int64_t row;
  std::int64_t row_end;
  std::int64_t col;
  std::int64_t depth;
  std::int64_t depth_end;
};

__device__ float matrix_value(const MatrixView& matrix, std::int64_t row, std::int64_t col) {
  return load_value(matrix.values, static_cast<std::size_t>(row * matrix.row_stride + col * matrix.col_stride));
}

__device__ Values advanced(const Values& values, std::int64_t elements) {
  return {static_cast<unsigned char*>(values.data) + elements * (values.bf16 ? 2 : 4), values.bf16};
}

// A tile of 32 x 32: both operands by way of shared memory, 4 x 4 outputs a thread.
__device__ void multiply_tile(const PlainGemm& call, const GemmPlace& place) {
  __shared__ float a[kDepth][kTile + 1];
  __shared__ float b[kDepth][kTile + 1];
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / kSide * kOwn;
  const int col = thread % kSide * kOwn;
  float sums[kOwn][kOwn] = {};
  for (std::int64_t begin = place.depth; begin < place.depth_end; begin += kDepth) {
    __syncthreads();
    for (int i = thread; i < kTile * kDepth; i += kGemmThreads) {
      const int depth = i % kDepth;
      const int line = i / kDepth;
      const bool inside = begin + depth < place.depth_end;
      a[depth][line] =
          inside && place.row + line < place.row_end ? matrix_value(call.a, place.row + line, begin + depth) : 0.0F;
      b[depth][line] =
          inside && place.col + line < call.n ? matrix_value(call.b, begin + depth, place.col + line) : 0.0F;
    }
    __syncthreads();
    const int steps = static_cast<int>(min(static_cast<std::int64_t>(kDepth), place.depth_end - begin));
    for (int depth = 0; depth < steps; ++depth) {
      float left[kOwn];
      float right[kOwn];
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        left[i] = a[depth][row + i];
        right[i] = b[depth][col + i];
      }
#pragma unroll
      for (int i = 0; i < kOwn; ++i)
#pragma unroll
        for (int j = 0; j < kOwn; ++j) sums[i][j] = __fmaf_rn(left[i], right[j], sums[i][j]);
    }
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i)
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      const std::int64_t to_row = place.row + row + i;
      const std::int64_t to_col = place.col + col + j;
      if (to_row >= place.row_end || to_col >= call.n) continue;
      const auto at = static_cast<std::size_t>(to_row * call.d_stride + to_col);
      store_value(call.d, at, call.add ? load_value(call.d, at) + sums[i][j] : sums[i][j]);
    }
}

__global__ void __launch_bounds__(kGemmThreads) plain_gemm_tiles(PlainGemm call) {
  multiply_tile(call, {static_cast<std::int64_t>(blockIdx.y) * kTile, call.m,
                       static_cast<std::int64_t>(blockIdx.x) * kTile, 0, call.k});
}

// Row tiles are counted group by group; blocks behind the last have nothing to do.
__global__ void __launch_bounds__(kGemmThreads) plain_gemm_row_groups(PlainGemm call, GroupedRows groups) {
  std::int64_t tile = blockIdx.y;
  for (int g = 0; g < groups.groups; ++g) {
    const std::int64_t begin = groups.offsets[g];
    const std::int64_t end = groups.offsets[g + 1];
    const std::int64_t tiles = (end - begin + kTile - 1) / kTile;
    if (tile < tiles) {
      call.b.values = advanced(call.b.values, g * groups.group_stride);
      multiply_tile(call, {begin + tile * kTile, end, static_cast<std::int64_t>(blockIdx.x) * kTile, 0, call.k});
      return;
    }
    tile -= tiles;
  }
}

__global__ void __launch_bounds__(kGemmThreads) plain_gemm_depth_groups(PlainGemm call, GroupedRows groups) {
  const int g = static_cast<int>(blockIdx.z);
  call.d = advanced(call.d, g * groups.group_stride);
  multiply_tile(call, {static_cast<std::int64_t>(blockIdx.y) * kTile, call.m,
                       static_cast<std::int64_t>(blockIdx.x) * kTile, groups.offsets[g], groups.offsets[g + 1]});
}

unsigned tiles_of(int count) { return static_cast<unsigned>((count + kTile - 1) / kTile); }

constexpr dim3 kGemmBlock{kGemmThreads, 1, 1};

}  // namespace

void plain_gemm(const PlainGemm& call) {
  simt::launch({"plain_gemm", dim3{tiles_of(call.n), tiles_of(call.m), 1}, kGemmBlock}, plain_gemm_tiles, call);
}

void plain_gemm_by_rows(const PlainGemm& call, const GroupedRows& groups) {
  const unsigned tiles = tiles_of(call.m) + static_cast<unsigned>(groups.groups);
  simt::launch({"plain_gemm_by_rows", dim3{tiles_of(call.n), tiles, 1}, kGemmBlock}, plain_gemm_row_groups, call,
               groups);
}

void plain_gemm_by_depth(const PlainGemm& call, const GroupedRows& groups) {
  const dim3 grid{tiles_of(call.n), tiles_of(call.m), static_cast<unsigned>(groups.groups)};
  simt::launch({"plain_gemm_by_depth", grid, kGemmBlock}, plain_gemm_depth_groups, call, groups);
}

}  // namespace lastbit::kernels

#include "kernels/gemm/gemm_place.h"
#include "kernels/numbers/fragments.h"

namespace lastbit::kernels {
namespace {

constexpr int kFragmentRows = 16;
constexpr int kFragmentCols = 8;

using Operand = GemmOperand<std::uint16_t>;

// What mma.sync gives for rows [row, row + 16) and columns [col, col + 8) of a tile, added to D or written there.
__device__ void store_fragment(const Bf16Gemm& gemm, const GemmPlace& place, int row, int col, const float (&sums)[4]) {
  const LanePlace lane = lane_place();
  for (int i = 0; i < 4; ++i) {
    const int r = row + lane.group + i / 2 * 8;
    const int c = col + lane.pair + i % 2;
    if (r >= place.rows || c >= place.cols) continue;
    const std::size_t at = place_in_d(gemm, place.group, place.row + r, place.col + c);
    store_d(gemm, at, gemm.accumulate ? __fadd_rn(load_d(gemm, at), sums[i]) : sums[i]);
  }
}

// Elements (row, k) and (row, k + 1), zeros outside of `rows` and `depth`.
__device__ unsigned pair_or_zero(const Operand& operand, int row, int rows, int k, int depth) {
  const std::uint16_t low = row < rows && k < depth ? operand.at(row, k) : std::uint16_t{0};
  const std::uint16_t high = row < rows && k + 1 < depth ? operand.at(row, k + 1) : std::uint16_t{0};
  return pack_pair(low, high);
}

// v0: one warp a tile of 16 x 8 outputs, fragments element by element from where they lie.
__global__ void bf16_gemm_v0(Bf16Gemm gemm) {
  const GemmPlace place = place_of_block(gemm, kFragmentRows, kFragmentCols);
  if (place.rows <= 0) return;  // the whole warp
  const Operand a = operand_a(gemm, place.group);
  const Operand b = operand_b(gemm, place.group);
  const int depth = depth_of_group(gemm, place.group);
  const LanePlace lane = lane_place();
  const int row = place.row + lane.group;
  const int end = place.row + place.rows;
  float sums[4] = {};
  for (int k = lane.pair; k - lane.pair < depth; k += kFragmentDepth) {
    const unsigned rows[4] = {pair_or_zero(a, row, end, k, depth), pair_or_zero(a, row + 8, end, k, depth),
                              pair_or_zero(a, row, end, k + 8, depth), pair_or_zero(a, row + 8, end, k + 8, depth)};
    const unsigned cols[2] = {pair_or_zero(b, place.col + lane.group, gemm.n, k, depth),
                              pair_or_zero(b, place.col + lane.group, gemm.n, k + 8, depth)};
    arch::mma_m16n8k16_bf16(sums, rows, cols);
  }
  store_fragment(gemm, place, 0, 0, sums);
}

constexpr int kTile = 64;   // rows and columns of D a block
constexpr int kDepth = 32;  // of K in shared memory at once
constexpr int kStride = kDepth + 8;
constexpr int kThreads = 128;
constexpr int kWarpTile = 32;  // rows and columns of a warp
constexpr int kRowFragments = kWarpTile / kFragmentRows;
constexpr int kColFragments = kWarpTile / kFragmentCols;

using Tile = std::uint16_t[kTile][kStride];

// Eight codes into a column.
__device__ void scatter_eight(std::uint16_t* to, const uint4& codes) {
  const unsigned pairs[kEight / 2] = {codes.x, codes.y, codes.z, codes.w};
#pragma unroll
  for (int i = 0; i < kEight; ++i) to[i * kStride] = static_cast<std::uint16_t>(pairs[i / 2] >> (16 * (i % 2)));
}

// Rows [row, row + rows) by [k, k + depth) of an operand, zeros outside; a row of the tile runs along K.
__device__ void load_tile(Tile& tile, const Operand& operand, int row, int rows, int k, int depth) {
  const bool along_k = operand.k_stride == 1;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth / kEight; i += kThreads) {
    const int r = along_k ? i / (kDepth / kEight) : i % (kTile / kEight) * kEight;
    const int c = along_k ? i % (kDepth / kEight) * kEight : i / (kTile / kEight);
    const std::uint16_t* const from = operand.data + static_cast<std::size_t>(row + r) * operand.row_stride +
                                      static_cast<std::size_t>(k + c) * operand.k_stride;
    if (along_k)
      store_eight(&tile[r][c], load_eight(from, r < rows ? depth - c : 0));
    else
      scatter_eight(&tile[r][c], load_eight(from, c < depth ? rows - r : 0));
  }
}

// The products of a warp's 32 x 32 outputs with what lies in shared memory; fragments beyond the tile's end are left
// alone.
__device__ void multiply_tiles(const Tile& tile_a, const Tile& tile_b, int row, int col, const GemmPlace& place,
                               float (&sums)[kRowFragments][kColFragments][4]) {
#pragma unroll
  for (int step = 0; step < kDepth; step += kFragmentDepth) {
    unsigned b[kColFragments][2];
#pragma unroll
    for (int j = 0; j < kColFragments; ++j) load_b_rows(b[j], tile_b[col + j * kFragmentCols], kStride, step);
#pragma unroll
    for (int i = 0; i < kRowFragments; ++i) {
      if (row + i * kFragmentRows >= place.rows) continue;
      unsigned a[4];
      load_a(a, tile_a[row + i * kFragmentRows], kStride, step);
#pragma unroll
      for (int j = 0; j < kColFragments; ++j)
        if (col + j * kFragmentCols < place.cols) arch::mma_m16n8k16_bf16(sums[i][j], a, b[j]);
    }
  }
}

// Tiles of 64 x 64 outputs, four warps of 32 x 32, operands by way of shared memory.
__global__ void __launch_bounds__(kThreads) bf16_gemm_tiles(Bf16Gemm gemm) {
  alignas(16) __shared__ std::uint16_t tile_a[kTile][kStride];
  alignas(16) __shared__ std::uint16_t tile_b[kTile][kStride];
  const GemmPlace place = place_of_block(gemm, kTile, kTile);
  if (place.rows <= 0) return;  // the whole block
  const Operand a = operand_a(gemm, place.group);
  const Operand b = operand_b(gemm, place.group);
  const int depth = depth_of_group(gemm, place.group);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int row = warp / (kTile / kWarpTile) * kWarpTile;
  const int col = warp % (kTile / kWarpTile) * kWarpTile;
  float sums[kRowFragments][kColFragments][4] = {};
  for (int k = 0; k < depth; k += kDepth) {
    load_tile(tile_a, a, place.row, place.rows, k, depth - k);
    load_tile(tile_b, b, place.col, place.cols, k, depth - k);
    __syncthreads();
    multiply_tiles(tile_a, tile_b, row, col, place, sums);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kRowFragments; ++i)
#pragma unroll
    for (int j = 0; j < kColFragments; ++j)
      store_fragment(gemm, place, row + i * kFragmentRows, col + j * kFragmentCols, sums[i][j]);
}

}  // namespace

void bf16_gemm(const Bf16Gemm& gemm, Version version) {
  const bool obvious = version == Version::kObvious;
  const dim3 grid = obvious ? grid_of_tiles(gemm, kFragmentRows, kFragmentCols) : grid_of_tiles(gemm, kTile, kTile);
  simt::launch({"bf16_gemm", grid, dim3{obvious ? 32U : unsigned{kThreads}, 1, 1}},
               obvious ? bf16_gemm_v0 : bf16_gemm_tiles, gemm);
}

}  // namespace lastbit::kernels

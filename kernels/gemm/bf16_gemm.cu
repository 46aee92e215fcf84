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

// A thread's share of a tile on its way from memory: vectors of eight along the stride of 1.
constexpr int kVectors = kTile * kDepth / kEight / kThreads;
struct TilePart {
  uint4 codes[kVectors];
};
// Where vector i of this thread begins in a tile.
struct VectorPlace {
  int row;
  int k;
};
__device__ VectorPlace vector_place(int i, bool along_k) {
  const int index = static_cast<int>(threadIdx.x) + i * kThreads;
  if (along_k) return {index / (kDepth / kEight), index % (kDepth / kEight) * kEight};
  return {index % (kTile / kEight) * kEight, index / (kTile / kEight)};
}

// Rows [row, row + rows) by [k, k + depth) of an operand, zeros outside.
__device__ TilePart fetch_tile(const Operand& operand, int row, int rows, int k, int depth) {
  const bool along_k = operand.k_stride == 1;
  TilePart part;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const VectorPlace place = vector_place(i, along_k);
    const std::uint16_t* const from = operand.data + static_cast<std::size_t>(row + place.row) * operand.row_stride +
                                      static_cast<std::size_t>(k + place.k) * operand.k_stride;
    const int count = along_k ? (place.row < rows ? depth - place.k : 0) : (place.k < depth ? rows - place.row : 0);
    part.codes[i] = load_eight(from, count);
  }
  return part;
}
// A row of the tile runs along K.
__device__ void store_tile(Tile& tile, const TilePart& part, bool along_k) {
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const VectorPlace place = vector_place(i, along_k);
    if (along_k)
      store_eight(&tile[place.row][place.k], part.codes[i]);
    else
      scatter_eight(&tile[place.row][place.k], part.codes[i]);
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

// Tiles of 64 x 64 outputs, four warps of 32 x 32, operands by way of two stages of shared memory: the next step of K
// is under way to registers while the tensor cores work on this one.
__global__ void __launch_bounds__(kThreads) bf16_gemm_tiles(Bf16Gemm gemm) {
  alignas(16) __shared__ std::uint16_t tiles_a[2][kTile][kStride];
  alignas(16) __shared__ std::uint16_t tiles_b[2][kTile][kStride];
  const GemmPlace place = place_of_block(gemm, kTile, kTile);
  if (place.rows <= 0) return;  // the whole block
  const Operand a = operand_a(gemm, place.group);
  const Operand b = operand_b(gemm, place.group);
  const int depth = depth_of_group(gemm, place.group);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int row = warp / (kTile / kWarpTile) * kWarpTile;
  const int col = warp % (kTile / kWarpTile) * kWarpTile;
  float sums[kRowFragments][kColFragments][4] = {};
  TilePart part_a = fetch_tile(a, place.row, place.rows, 0, depth);
  TilePart part_b = fetch_tile(b, place.col, place.cols, 0, depth);
  for (int k = 0; k < depth; k += kDepth) {
    const int stage = k / kDepth % 2;
    store_tile(tiles_a[stage], part_a, a.k_stride == 1);
    store_tile(tiles_b[stage], part_b, b.k_stride == 1);
    // One barrier a step is enough: who stores into a stage again has passed that of the step between.
    __syncthreads();
    if (k + kDepth < depth) {
      part_a = fetch_tile(a, place.row, place.rows, k + kDepth, depth - k - kDepth);
      part_b = fetch_tile(b, place.col, place.cols, k + kDepth, depth - k - kDepth);
    }
    multiply_tiles(tiles_a[stage], tiles_b[stage], row, col, place, sums);
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

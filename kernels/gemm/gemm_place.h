// Where the operands of a product lie by its role and group, and which tile of the output a block computes.
#pragma once

#include "kernels/gemm/linear_gemm.h"
#include "kernels/numbers/bf16.h"

namespace lastbit::kernels {

// Element (row, k) of A, or (column, k) of B, lies at data[row * row_stride + k * k_stride]; one stride is 1.
template <typename T>
struct GemmOperand {
  const T* data;
  std::size_t row_stride;
  std::size_t k_stride;

  __device__ T at(int row, int k) const {
    return data[static_cast<std::size_t>(row) * row_stride + static_cast<std::size_t>(k) * k_stride];
  }
};

// Rows of D, or for kTn of K, that belong to a group; the group behind the last has the rows of none.
struct GemmRows {
  int begin;
  int end;
};
template <typename T>
__device__ GemmRows rows_of_group(const LinearGemm<T>& gemm, int group) {
  const int all = gemm.role == GemmRole::kTn ? gemm.k : gemm.m;
  if (gemm.offsets == nullptr) return {group == 0 ? 0 : all, all};
  return {static_cast<int>(gemm.offsets[group]),
          group == gemm.groups ? all : static_cast<int>(gemm.offsets[group + 1])};
}

// How long the sum of an output in `group` is.
template <typename T>
__device__ int depth_of_group(const LinearGemm<T>& gemm, int group) {
  if (gemm.role != GemmRole::kTn) return group == gemm.groups ? 0 : gemm.k;
  const GemmRows rows = rows_of_group(gemm, group);
  return rows.end - rows.begin;
}

template <typename T>
__device__ GemmOperand<T> operand_a(const LinearGemm<T>& gemm, int group) {
  const auto m = static_cast<std::size_t>(gemm.m);
  if (gemm.role == GemmRole::kTn)
    return {gemm.a + static_cast<std::size_t>(rows_of_group(gemm, group).begin) * m, 1, m};
  return {gemm.a, static_cast<std::size_t>(gemm.k), 1};
}

template <typename T>
__device__ GemmOperand<T> operand_b(const LinearGemm<T>& gemm, int group) {
  const auto n = static_cast<std::size_t>(gemm.n);
  const auto k = static_cast<std::size_t>(gemm.k);
  const std::size_t weight = static_cast<std::size_t>(group) * n * k;
  if (gemm.role == GemmRole::kNt) return {gemm.b + weight, k, 1};
  if (gemm.role == GemmRole::kNn) return {gemm.b + weight, 1, n};
  return {gemm.b + static_cast<std::size_t>(rows_of_group(gemm, group).begin) * n, 1, n};
}

// A tile of D: rows [row, row + rows) and the columns from `col` on, in one group. rows = 0: nothing to do.
struct GemmPlace {
  int group;
  int row;
  int rows;
  int col;
  int cols;
};
// Of block (x, y, z): column tiles lie along y; row tiles along x, for kNt and kNn group after group, each from its own
// first row on; the groups of kTn along z.
template <typename T>
__device__ GemmPlace place_of_block(const LinearGemm<T>& gemm, int tile_rows, int tile_cols) {
  GemmPlace place{0, 0, 0, static_cast<int>(blockIdx.y) * tile_cols, 0};
  place.cols = min(tile_cols, gemm.n - place.col);
  int tile = static_cast<int>(blockIdx.x);
  if (gemm.role == GemmRole::kTn) {
    place.group = static_cast<int>(blockIdx.z);
    place.row = tile * tile_rows;
    place.rows = min(tile_rows, gemm.m - place.row);
    return place;
  }
  for (; place.group <= gemm.groups; ++place.group) {
    const GemmRows rows = rows_of_group(gemm, place.group);
    const int tiles = (rows.end - rows.begin + tile_rows - 1) / tile_rows;
    if (tile < tiles) {
      place.row = rows.begin + tile * tile_rows;
      place.rows = min(tile_rows, rows.end - place.row);
      return place;
    }
    tile -= tiles;
  }
  return place;
}

// Blocks enough for every tile, whatever the offsets say.
template <typename T>
dim3 grid_of_tiles(const LinearGemm<T>& gemm, int tile_rows, int tile_cols) {
  const bool split = gemm.role != GemmRole::kTn && gemm.offsets != nullptr;  // each group may end within a tile
  return dim3{static_cast<unsigned>((gemm.m + tile_rows - 1) / tile_rows + (split ? gemm.groups : 0)),
              static_cast<unsigned>((gemm.n + tile_cols - 1) / tile_cols),
              static_cast<unsigned>(gemm.role == GemmRole::kTn ? gemm.groups : 1)};
}

// Output (row, col) of D.
template <typename T>
__device__ std::size_t place_in_d(const LinearGemm<T>& gemm, int group, int row, int col) {
  const auto n = static_cast<std::size_t>(gemm.n);
  const std::size_t first = gemm.role == GemmRole::kTn ? static_cast<std::size_t>(group) : 0;
  return (first * static_cast<std::size_t>(gemm.m) + static_cast<std::size_t>(row)) * n + static_cast<std::size_t>(col);
}
template <typename T>
__device__ float load_d(const LinearGemm<T>& gemm, std::size_t at) {
  return gemm.bf16_output ? bf16_value(static_cast<const std::uint16_t*>(gemm.d)[at])
                          : static_cast<const float*>(gemm.d)[at];
}
template <typename T>
__device__ void store_d(const LinearGemm<T>& gemm, std::size_t at, float y) {
  if (gemm.bf16_output)
    static_cast<std::uint16_t*>(gemm.d)[at] = bf16_code(y);
  else
    static_cast<float*>(gemm.d)[at] = y;
}

}  // namespace lastbit::kernels

// The two paths of gemm() behind its front: plain, and vectorised. Both compute FP32 results of one tile of outputs.
#pragma once

#include <cstdint>
#include <vector>

#include "numerics/gemm.h"

namespace lastbit::numerics {

// A checked problem: everything gemm() refuses has been refused.
struct GemmProblem {
  const MmaRule& rule;
  const GemmOperands& operands;
  Promotion promotion;

  [[nodiscard]] bool promotes() const { return promotion.order != PromotionOrder::kNone; }
  [[nodiscard]] std::int64_t k() const { return operands.a.cols; }
};

// Outputs [row, row + rows) x [col, col + cols); y points at the first, rows lie `stride` apart.
struct OutputTile {
  std::int64_t row;
  std::int64_t rows;
  std::int64_t col;
  std::int64_t cols;
  float* y;
  std::int64_t stride;
};

// The scale of row `row` of an operand at element k of K; 1 without scales.
[[nodiscard]] inline float scale_at(std::span<const float> scales, ScaleTile tile, std::int64_t columns,
                                    std::int64_t row, std::int64_t k) {
  return scales.empty() ? 1.0F : scales[static_cast<std::size_t>(row / tile.rows * columns + k / tile.k)];
}

[[nodiscard]] constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// One promotion: y with `partial` added under its scales, in the order of gemm.h.
[[nodiscard]] float promote(PromotionOrder order, float partial, float scale_a, float scale_b, float y);

void gemm_tile_plain(const GemmProblem& problem, const OutputTile& tile);

// Rows and columns of a tile with operands that the vector path does not take; their outputs are left without meaning.
struct LinesLeft {
  std::vector<std::int64_t> rows;  // within the tile
  std::vector<std::int64_t> cols;
};

[[nodiscard]] LinesLeft gemm_tile_vector(const GemmProblem& problem, const OutputTile& tile);

}  // namespace lastbit::numerics

// gemm() one scalar step after the other: what the vector path is held to, and what it leaves.
#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"
#include "numerics/gemm_paths.h"

namespace lastbit::numerics {
namespace {

constexpr std::int64_t kChainBlock = 256;  // elements of K taken apart at a time when nothing is promoted

constexpr std::uint32_t kRegisterNan = 0x7fffffffu;

float canonical(float value) { return std::isnan(value) ? std::bit_cast<float>(kRegisterNan) : value; }

}  // namespace

float promote(PromotionOrder order, float partial, float scale_a, float scale_b, float y) {
  switch (order) {
    case PromotionOrder::kDeepgemm:
      return canonical(std::fma(partial, scale_a * scale_b, y));
    case PromotionOrder::kCublas:
      return canonical(std::fma(partial * scale_a, scale_b, y));
    case PromotionOrder::kMuladd:
      return canonical(y + partial * (scale_a * scale_b));
    case PromotionOrder::kNone:
      break;
  }
  core::check(false, "a promotion order");
  return y;
}

void gemm_tile_plain(const GemmProblem& problem, const OutputTile& tile) {
  const MmaRule& rule = problem.rule;
  const GemmOperands& operands = problem.operands;
  const std::int64_t wanted = problem.promotes() ? problem.promotion.every : kChainBlock;
  const std::int64_t block = ceil_div(wanted, rule.step_k) * rule.step_k;
  const std::int64_t columns_a = scale_shape(operands.a, operands.tile_a).columns;
  const std::int64_t columns_b = scale_shape(operands.b, operands.tile_b).columns;
  OperandPanel a;
  OperandPanel b;
  for (std::int64_t i = 0; i < tile.rows; ++i) std::fill_n(tile.y + i * tile.stride, tile.cols, 0.0F);
  for (std::int64_t k = 0; k < problem.k(); k += block) {
    const std::int64_t length = std::min(block, problem.k() - k);
    const std::int64_t padded = ceil_div(length, rule.step_k) * rule.step_k;
    a.assign(operands.a, tile.row, tile.rows, k, length, padded);
    b.assign(operands.b, tile.col, tile.cols, k, length, padded);
    for (std::int64_t i = 0; i < tile.rows; ++i) {
      const float scale_a = scale_at(operands.scale_a, operands.tile_a, columns_a, tile.row + i, k);
      for (std::int64_t j = 0; j < tile.cols; ++j) {
        float& y = tile.y[i * tile.stride + j];
        std::uint32_t accumulator = problem.promotes() ? 0 : std::bit_cast<std::uint32_t>(y);
        for (std::int64_t step = 0; step < padded; step += rule.step_k)
          accumulator = mma_step(rule, a.at(i, step), b.at(j, step), accumulator);
        const auto partial = std::bit_cast<float>(accumulator);
        const float scale_b = scale_at(operands.scale_b, operands.tile_b, columns_b, tile.col + j, k);
        y = problem.promotes() ? promote(problem.promotion.order, partial, scale_a, scale_b, y) : partial;
      }
    }
  }
}

}  // namespace lastbit::numerics

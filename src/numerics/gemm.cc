#include "numerics/gemm.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/parse.h"

namespace lastbit::numerics {
namespace {

// A tile of outputs is a task. Its operands are taken apart once a block of K: (32 + 64) conversions for 32 * 64 MACs.
constexpr std::int64_t kTileRows = 32;
constexpr std::int64_t kTileCols = 64;
constexpr std::int64_t kChainBlock = 256;  // elements of K taken apart at a time when nothing is promoted

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

constexpr std::uint32_t kRegisterNan = 0x7fffffffu;

float canonical(float value) { return std::isnan(value) ? std::bit_cast<float>(kRegisterNan) : value; }

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

struct Tile {
  std::int64_t row;
  std::int64_t rows;
  std::int64_t col;
  std::int64_t cols;
};

class Engine {
 public:
  Engine(const MmaRule& rule, const GemmOperands& operands, Promotion promotion, std::span<float> d)
      : rule_(rule), operands_(operands), promotion_(promotion), d_(d), k_(operands.a.cols) {
    const std::int64_t wanted = promoting() ? promotion_.every : kChainBlock;
    block_ = ceil_div(wanted, rule.step_k) * rule.step_k;
    scale_columns_ = ceil_div(k_, kScaleBlock);
  }

  void run() const {
    const std::int64_t tile_cols = ceil_div(operands_.b.rows, kTileCols);
    const std::int64_t tiles = ceil_div(operands_.a.rows, kTileRows) * tile_cols;
    core::parallel_for(tiles, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t row = i / tile_cols * kTileRows;
        const std::int64_t col = i % tile_cols * kTileCols;
        run_tile({row, std::min(kTileRows, operands_.a.rows - row), col, std::min(kTileCols, operands_.b.rows - col)});
      }
    });
  }

 private:
  [[nodiscard]] bool promoting() const { return promotion_.order != PromotionOrder::kNone; }

  void run_tile(const Tile& tile) const {
    OperandPanel a;
    OperandPanel b;
    for (std::int64_t i = 0; i < tile.rows; ++i)
      std::fill_n(d_.begin() + (tile.row + i) * operands_.b.rows + tile.col, tile.cols, 0.0F);
    for (std::int64_t k = 0; k < k_; k += block_) {
      const std::int64_t length = std::min(block_, k_ - k);
      const std::int64_t padded = ceil_div(length, rule_.step_k) * rule_.step_k;
      a.assign(operands_.a, tile.row, tile.rows, k, length, padded);
      b.assign(operands_.b, tile.col, tile.cols, k, length, padded);
      for (std::int64_t i = 0; i < tile.rows; ++i)
        for (std::int64_t j = 0; j < tile.cols; ++j) add_block(tile, i, j, k, padded, a, b);
    }
  }

  // Adds elements [k, k + padded) of K to output (i, j) of the tile.
  void add_block(const Tile& tile, std::int64_t i, std::int64_t j, std::int64_t k, std::int64_t padded,
                 const OperandPanel& a, const OperandPanel& b) const {
    const std::int64_t row = tile.row + i;
    const std::int64_t col = tile.col + j;
    float& y = d_[static_cast<std::size_t>(row * operands_.b.rows + col)];
    std::uint32_t accumulator = promoting() ? 0 : std::bit_cast<std::uint32_t>(y);
    for (std::int64_t step = 0; step < padded; step += rule_.step_k)
      accumulator = mma_step(rule_, a.at(i, step), b.at(j, step), accumulator);
    const auto partial = std::bit_cast<float>(accumulator);
    y = promoting() ? promote(promotion_.order, partial, scale(operands_.scale_a, row, k),
                              scale(operands_.scale_b, col / kScaleBlock, k), y)
                    : partial;
  }

  [[nodiscard]] float scale(std::span<const float> scales, std::int64_t row, std::int64_t k) const {
    return scales.empty() ? 1.0F : scales[static_cast<std::size_t>(row * scale_columns_ + k / kScaleBlock)];
  }

  const MmaRule& rule_;
  const GemmOperands& operands_;
  Promotion promotion_;
  std::span<float> d_;
  std::int64_t k_;
  std::int64_t block_ = 0;
  std::int64_t scale_columns_ = 0;
};

// One partial sum takes one scale: all blocks of 128 that begin within an interval must share it.
void require_constant_scales(std::span<const float> scales, std::int64_t columns, std::int64_t every,
                             const char* which) {
  if (scales.empty() || every <= kScaleBlock) return;
  const std::int64_t blocks = every / kScaleBlock;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(scales.size()); ++i) {
    const std::int64_t column = i % columns;
    const float first = scales[static_cast<std::size_t>(i - column % blocks)];
    if (scales[static_cast<std::size_t>(i)] != first)
      core::fail_input(
          "{}[{}, {}] differs from the scale at the start of its interval of {} elements: promote every {}", which,
          i / columns, column, every, kScaleBlock);
  }
}

void require_valid(const MmaRule& rule, const GemmOperands& operands, Promotion promotion) {
  const bool scaled = !operands.scale_a.empty() || !operands.scale_b.empty();
  if (promotion.order == PromotionOrder::kNone) {
    if (scaled) core::fail_input("scales are applied when partial sums are promoted, and promotion is none");
    return;
  }
  if (promotion.every <= 0 || promotion.every % rule.step_k != 0)
    core::fail_input("promotion every {} elements: expected a positive multiple of the unit's step, {}",
                     promotion.every, rule.step_k);
  if (!scaled) return;
  if (kScaleBlock % promotion.every != 0 && promotion.every % kScaleBlock != 0)
    core::fail_input("promotion every {} elements: with scales, expected a divisor or a multiple of {}",
                     promotion.every, kScaleBlock);
  const std::int64_t columns = ceil_div(operands.a.cols, kScaleBlock);
  require_constant_scales(operands.scale_a, columns, promotion.every, "scale_a");
  require_constant_scales(operands.scale_b, columns, promotion.every, "scale_b");
}

}  // namespace

PromotionOrder find_promotion(std::string_view name) {
  return static_cast<PromotionOrder>(require_name("promotion", name, {"none", "deepgemm", "cublas", "muladd"}));
}

ScaleShape scale_shape(const GemmOperands& operands) {
  return {operands.a.rows, ceil_div(operands.b.rows, kScaleBlock), ceil_div(operands.a.cols, kScaleBlock)};
}

void gemm(const MmaRule& rule, const GemmOperands& operands, Promotion promotion, std::span<float> d) {
  const CodeMatrix& a = operands.a;
  const CodeMatrix& b = operands.b;
  core::check(a.format == rule.a && b.format == rule.b && rule.d == Format::kF32, "operands of the rule's formats");
  core::check(a.cols == b.cols, "gemm() wants one K");
  core::check(d.size() == static_cast<std::size_t>(a.rows * b.rows), "gemm() wants d of M * N elements");
  const ScaleShape shape = scale_shape(operands);
  const auto fits = [&shape](std::span<const float> scales, std::int64_t rows) {
    return scales.empty() || scales.size() == static_cast<std::size_t>(rows * shape.columns);
  };
  core::check(fits(operands.scale_a, shape.a_rows) && fits(operands.scale_b, shape.b_rows),
              "gemm() wants one scale a block of 128");
  require_valid(rule, operands, promotion);
  Engine(rule, operands, promotion, d).run();
}

void require_usable_scales(std::span<const float> scales, std::int64_t columns, const std::string& what) {
  for (std::size_t i = 0; i < scales.size(); ++i) {
    if (std::isfinite(scales[i]) && scales[i] > 0) continue;
    const auto index = static_cast<std::int64_t>(i);
    core::fail_input("{}: the scale at [{}, {}] is {}, expected a positive finite number", what, index / columns,
                     index % columns, scales[i]);
  }
}

}  // namespace lastbit::numerics

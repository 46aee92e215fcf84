// The vectorised path of gemm(): one signed FMA a multiply-accumulate, for the rule kTruncated.
//
// In round-toward-zero mode a positive accumulator acc = M + x, with M = 1.5 * 2^(E + m - F) and m the fraction bits of
// the lanes (23 in float, 52 in double), keeps multiples of its last place, 2^(E - F): adding a term floors it to the
// tensor core's grid. Truncation toward zero is wanted, so b is stored as b (1 + 2^-t): then a product p > 0 gives
// floor(p) still, and p < 0 gives trunc(p) - 1 always, exact multiples included. N, the number of negative products,
// put into acc's last places beforehand, gives those ones back. t must be large enough for |p| 2^-t to stay below both
// the grid's step and the last bit of p, and small enough for b (1 + 2^-t) and its products to be exact:
//   float lanes:  8-bit products (E4M3, E5M2), F <= 13, results of 13 bits: t = 16, 8 + 16 <= 24 bits;
//   double lanes: products of up to 22 bits, F <= 28, results of 23 bits: t = F + 3, 22 + 31 <= 53 bits.
// Products are exact, so a multiplication and an addition do what an FMA does where there is none. c enters likewise:
// it has 14 (24) bits; c (1 + 2^-t) rounded toward zero still lies strictly beyond c. With AVX-512, whose instructions
// say how they round, c is added as it is, rounded up where it is negative.
// |acc - M| stays below (4 * 32 + 2) 2^E, far below M / 3: the last place never moves.
//
// Zeros (of both signs) are stored as a tiny positive number z whose products lie below every grid's step: they are
// floored away, or counted in N and given back, so that no lane is special.
//
// E = max(e_a + e_b) over a group, for all columns of a panel at once, costs half an OR a product: let e_a = A - i and
// e_b = B - j with A and B the largest of the row's and of the column's group. Then E = A + B - s, s the least i + j.
// Four bits of 0xf << (i + j), all from i + j on, are column j's place in the i-th of four planes (more than three
// below the largest: in an empty one); the OR of all products' bits has 4 - s bits. A byte holds the bits of two
// columns, and two elements of K share a table of the ORs of their planes. Where no bit is left, s is 4 or more or
// every product is zero, and the row is done again by saturating differences of exponent bytes and their maximum. There
// E has a lower clamp (-32 in float, -121 in double) that changes nothing: at the clamp the grid is finer than the last
// bit of anything that can be in c.
//
// N is a sum over tables, too: for four elements of K, by the row's four signs, the number of negative products of each
// column.
//
// Operands outside the lanes' range (Inf, NaN, in double also exponents beyond [-60, 50]) are reported, not computed.
// With exponents inside, no intermediate result is subnormal or overflows before K = 2^25.
#include <algorithm>
#include <array>
#include <bit>
#include <cfenv>
#include <cmath>
#include <cstring>

#include "numerics/gemm_lanes.h"
#include "numerics/gemm_paths.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "numerics/gemm_vector.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include "numerics/gemm_kernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of A packed at a time, at most: the more, the less often groups of B are taken apart. With AVX-512, whose panels
// are wide, fewer where the buffers would be more than a tenth of the operands, but not for operands so small that they
// are more in any case.
constexpr std::int64_t kChunkRows = 132;  // a multiple of every kRows

std::int64_t most_rows(const GemmOperands& operands) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  const std::size_t bytes = operands.a.bytes.size() + operands.b.bytes.size();
  if (HWY_TARGET > HWY_AVX3 || bytes < kMiB || bytes >= 6 * kMiB) return kChunkRows;
  return bytes < 3 * kMiB ? 80 : 104;
}

constexpr std::int64_t kChainBlock = 128;  // elements of K packed at a time when nothing is promoted

class TowardZero {
 public:
  TowardZero() : before_(std::fegetround()) { std::fesetround(FE_TOWARDZERO); }
  ~TowardZero() { std::fesetround(before_); }
  TowardZero(const TowardZero&) = delete;
  TowardZero& operator=(const TowardZero&) = delete;

 private:
  int before_;
};

// One tile of outputs, in lanes of T.
template <typename L>
class TileRun {
  using T = typename L::Value;

 public:
  TileRun(const GemmProblem& problem, const OutputTile& tile)
      : problem_(problem),
        tile_(tile),
        grid_(problem.rule),
        block_k_(block_of(problem)),
        promotes_(problem.promotes() && problem.k() > 0 &&
                  (problem.promotion.every < problem.k() || problem.k() <= block_k_)),
        panels_(ceil_div(tile.cols, kPanelCols)),
        chunk_rows_(round_up(ceil_div(tile.rows, ceil_div(tile.rows, most_rows(problem.operands))), kRows)),
        panels_at_once_(std::clamp(kChunkRows / chunk_rows_, std::int64_t{1}, panels_)),
        rows_(problem.operands.a, chunk_rows_, block_k_, problem.rule.step_k),
        columns_(problem.operands.b, panels_, block_k_, problem.rule.step_k, grid_.beyond),
        bytes_(problem.rule.step_k, chunk_rows_),
        c_(hwy::AllocateAligned<float>(static_cast<std::size_t>(panels_at_once_ * chunk_rows_ * kPanelCols))),
        scale_a_(static_cast<std::size_t>(chunk_rows_), 1.0F),
        scale_b_(static_cast<std::size_t>(tile.cols), 1.0F),
        refused_rows_(static_cast<std::size_t>(tile.rows)),
        refused_cols_(static_cast<std::size_t>(panels_ * kPanelCols)) {}

  // Elements of K packed at a time: what is promoted together or, where that is all of K, a block of a chain.
  static std::int64_t block_of(const GemmProblem& problem) {
    if (problem.promotes() && problem.promotion.every < problem.k()) return problem.promotion.every;
    const std::int64_t step_k = problem.rule.step_k;
    return std::clamp(round_up(problem.k(), step_k), step_k, kChainBlock);
  }

  LinesLeft run() {
    if (problem_.k() == 0)
      for (std::int64_t i = 0; i < tile_.rows; ++i) std::fill_n(tile_.y + i * tile_.stride, tile_.cols, 0.0F);
    for (std::int64_t k = 0; k < problem_.k(); k += block_k_) {
      const std::int64_t length = std::min(block_k_, problem_.k() - k);
      for (std::int64_t panel = 0; panel < panels_; ++panel) {
        const std::int64_t col = panel * kPanelCols;
        columns_.pack(panel, tile_.col + col, std::min(kPanelCols, tile_.cols - col), k, length);
      }
      load_scales_b(k);
      for (std::int64_t row = 0; row < tile_.rows; row += chunk_rows_)
        run_chunk(row, std::min(chunk_rows_, tile_.rows - row), k, length);
    }
    if (problem_.promotes() && !promotes_ && problem_.k() > 0) promote_once();
    LinesLeft left;
    for (std::int64_t i = 0; i < tile_.rows; ++i)
      if (refused_rows_[static_cast<std::size_t>(i)] != 0) left.rows.push_back(i);
    for (std::int64_t j = 0; j < tile_.cols; ++j)
      if (refused_cols_[static_cast<std::size_t>(j)] != 0) left.cols.push_back(j);
    return left;
  }

 private:
  void load_scales_b(std::int64_t k) {
    const GemmOperands& operands = problem_.operands;
    if (operands.scale_b.empty()) return;
    const std::int64_t columns = scale_shape(operands.b, operands.tile_b).columns;
    for (std::int64_t j = 0; j < tile_.cols; ++j)
      scale_b_[static_cast<std::size_t>(j)] = scale_at(operands.scale_b, operands.tile_b, columns, tile_.col + j, k);
  }

  [[nodiscard]] float scale_a(std::int64_t row, std::int64_t k) const {
    const GemmOperands& operands = problem_.operands;
    return scale_at(operands.scale_a, operands.tile_a, scale_shape(operands.a, operands.tile_a).columns,
                    tile_.row + row, k);
  }

  void run_chunk(std::int64_t row, std::int64_t rows, std::int64_t k, std::int64_t length) {
    rows_.pack(tile_.row + row, rows, k, length, refused_rows_.data() + row);
    for (std::int64_t i = 0; i < rows; ++i) scale_a_[static_cast<std::size_t>(i)] = scale_a(row + i, k);
    const bool from_zero = promotes_ || k == 0;
    for (std::int64_t panel = 0; panel < panels_; panel += panels_at_once_) {
      const std::int64_t end = std::min(panel + panels_at_once_, panels_);
      for (std::int64_t p = panel; p < end; ++p) {
        const Results partial{c_.get() + (p - panel) * chunk_rows_ * kPanelCols, kPanelCols};
        if (!from_zero && !straight(p)) load_partial(p, partial, row, rows);
        add_panel(p, partial, row, rows, length, from_zero);
      }
      for (std::int64_t p = panel; p < end; ++p)
        if (!straight(p)) store_partial(p, c_.get() + (p - panel) * chunk_rows_ * kPanelCols, row, rows, k == 0);
    }
  }

  [[nodiscard]] std::int64_t cols_of(std::int64_t panel) const {
    return std::min(kPanelCols, tile_.cols - panel * kPanelCols);
  }
  [[nodiscard]] Results results_of(std::int64_t panel, std::int64_t row) const {
    return {tile_.y + row * tile_.stride + panel * kPanelCols, tile_.stride};
  }

  // Whether the first group of a block takes c straight from y, and the last one gives it back: for that the panel must
  // be whole.
  [[nodiscard]] bool straight(std::int64_t panel) const { return !promotes_ && cols_of(panel) == kPanelCols; }

  // The lines of y are fetched with the groups that need them or, where they are promoted, with the one before.
  void add_panel(std::int64_t panel, const Results& partial, std::int64_t row, std::int64_t rows, std::int64_t length,
                 bool from_zero) {
    const std::int64_t groups = ceil_div(length, problem_.rule.step_k);
    const Results y = results_of(panel, row);
    for (std::int64_t group = 0; group < groups; ++group) {
      const bool first = group == 0;
      const bool last = group + 1 == groups;
      const Results from = first && straight(panel) ? y : partial;
      const Results to = last && straight(panel) ? y : partial;
      const ToFetch ahead{y, last || (first && straight(panel) && !from_zero) ? cols_of(panel) : 0};
      columns_.open(panel, group, refused_cols_.data() + panel * kPanelCols);
      bytes_.select(columns_, rows);
      const TowardZero mode;
      if (first && from_zero)
        add_group<true>(grid_, bytes_, rows_, rows, columns_, group, from, to, ahead);
      else
        add_group<false>(grid_, bytes_, rows_, rows, columns_, group, from, to, ahead);
    }
  }

  // What y holds of a panel that is not whole.
  HWY_NOINLINE void load_partial(std::int64_t panel, const Results& partial, std::int64_t row, std::int64_t rows) {
    const std::int64_t cols = cols_of(panel);
    const Results y = results_of(panel, row);
    for (std::int64_t i = 0; i < rows; ++i) {
      float* to = partial.first + i * partial.stride;
      std::copy_n(y.first + i * y.stride, cols, to);
      std::fill(to + cols, to + kPanelCols, 0.0F);
    }
  }

  // The chunk's results of one panel: to y as they are, or promoted; at first y is 0, whatever it holds.
  HWY_NOINLINE void store_partial(std::int64_t panel, const float* c, std::int64_t row, std::int64_t rows, bool first) {
    const std::int64_t cols = cols_of(panel);
    const float* scale_b = scale_b_.data() + panel * kPanelCols;
    for (std::int64_t i = 0; i < rows; ++i, c += kPanelCols) {
      float* y = results_of(panel, row + i).first;
      if (!promotes_) {
        std::copy_n(c, cols, y);
        continue;
      }
      const float scale_a = scale_a_[static_cast<std::size_t>(i)];
      std::int64_t j = first ? promote_vectors<true>(c, cols, scale_a, scale_b, y)
                             : promote_vectors<false>(c, cols, scale_a, scale_b, y);
      for (; j < cols; ++j) y[j] = promote(problem_.promotion.order, c[j], scale_a, scale_b[j], first ? 0.0F : y[j]);
    }
  }

  template <typename F, typename V>
  HWY_INLINE V promoted(F f, V partial, float scale_a, const float* scale_b, V y) const {
    const PromotionOrder order = problem_.promotion.order;
    const auto sa = hn::Set(f, scale_a);
    const auto sb = hn::LoadU(f, scale_b);
    V sum;
    if (order == PromotionOrder::kDeepgemm)
      sum = hn::MulAdd(partial, hn::Mul(sa, sb), y);
    else if (order == PromotionOrder::kCublas)
      sum = hn::MulAdd(hn::Mul(partial, sa), sb, y);
    else
      sum = hn::Add(y, hn::Mul(partial, hn::Mul(sa, sb)));
    const auto nan = hn::BitCast(f, hn::Set(hn::RebindToUnsigned<F>(), 0x7fffffffu));
    return hn::IfThenElse(hn::Eq(sum, sum), sum, nan);
  }

  // promote() on whole vectors; the number of columns done: none where FMA would be two roundings.
  template <bool kFirst>
  HWY_INLINE std::int64_t promote_vectors(const float* c, std::int64_t cols, float scale_a, const float* scale_b,
                                          float* y) {
#if HWY_NATIVE_FMA
    const hn::ScalableTag<float> f;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(f));
    std::int64_t j = 0;
    for (; j + lanes <= cols; j += lanes) {
      const auto before = kFirst ? hn::Zero(f) : hn::LoadU(f, y + j);
      hn::StoreU(promoted(f, hn::LoadU(f, c + j), scale_a, scale_b + j, before), f, y + j);
    }
    return j;
#else
    (void)c, (void)cols, (void)scale_a, (void)scale_b, (void)y;
    return 0;
#endif
  }

  // When one interval covers K: y holds the partial.
  void promote_once() {
    load_scales_b(0);
    for (std::int64_t i = 0; i < tile_.rows; ++i) {
      const float scale = scale_a(i, 0);
      float* y = tile_.y + i * tile_.stride;
      std::int64_t j = 0;
#if HWY_NATIVE_FMA
      const hn::ScalableTag<float> f;
      const auto lanes = static_cast<std::int64_t>(hn::Lanes(f));
      for (; j + lanes <= tile_.cols; j += lanes)
        hn::StoreU(promoted(f, hn::LoadU(f, y + j), scale, scale_b_.data() + j, hn::Zero(f)), f, y + j);
#endif
      for (; j < tile_.cols; ++j)
        y[j] = promote(problem_.promotion.order, y[j], scale, scale_b_[static_cast<std::size_t>(j)], 0.0F);
    }
  }

  const GemmProblem& problem_;
  const OutputTile& tile_;
  Grid<L> grid_;
  std::int64_t block_k_;
  bool promotes_;  // every block; else the end of the chain, where anything is promoted
  std::int64_t panels_;
  std::int64_t chunk_rows_;
  std::int64_t panels_at_once_;
  PackedRows<L> rows_;
  PackedPanels<L> columns_;
  GroupBytes<L> bytes_;
  hwy::AlignedFreeUniquePtr<float[]> c_;  // [panels at once, rows of a chunk, kPanelCols]
  std::vector<float> scale_a_;            // [rows of a chunk]
  std::vector<float> scale_b_;            // [columns of the tile]
  std::vector<std::uint8_t> refused_rows_;
  std::vector<std::uint8_t> refused_cols_;
};

LinesLeft run_tile(const GemmProblem& problem, const OutputTile& tile) {
  if (fits_float(problem.rule)) return TileRun<FloatLanes>(problem, tile).run();
  return TileRun<DoubleLanes>(problem, tile).run();
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lastbit::numerics {

HWY_EXPORT(run_tile);

bool vectorised(const MmaRule& rule) {
  const FormatDescriptor& a = describe(rule.a);
  const FormatDescriptor& b = describe(rule.b);
  if (rule.accumulation != Accumulation::kTruncated || rule.d != Format::kF32) return false;
  if (rule.zero_exponent || rule.least_alignment || rule.output_rounding != Rounding::kTowardZero) return false;
  if (a.specials == Specials::kFnuz || b.specials == Specials::kFnuz) return false;  // whose NaN looks like a zero
  if (a.storage_bytes != b.storage_bytes || a.fraction_bits > 10 || b.fraction_bits > 10) return false;
  if (rule.step_k % 4 != 0 || rule.step_k > 32 || 32 % rule.step_k != 0) return false;
  if (fits_float(rule)) return true;
  const int product_bits = a.fraction_bits + b.fraction_bits + 2;
  return rule.output_grid == Format::kF32 && rule.fraction_bits >= 13 && product_bits + rule.fraction_bits + 3 <= 53;
}

LinesLeft gemm_tile_vector(const GemmProblem& problem, const OutputTile& tile) {
  return HWY_DYNAMIC_DISPATCH(run_tile)(problem, tile);
}

}  // namespace lastbit::numerics
#endif  // HWY_ONCE

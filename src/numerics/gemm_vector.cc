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
// it has 14 (24) bits; c (1 + 2^-t) rounded toward zero still lies strictly beyond c.
// |acc - M| stays below (4 * 32 + 2) 2^E, far below M / 3: the last place never moves.
//
// Zeros (of both signs) are stored as a tiny positive number z whose products lie below every grid's step: they are
// floored away, or counted in N and given back, so that no lane is special.
//
// E = max(e_a + e_b) over a group, for all columns of a panel at once, costs one OR a product: let e_a = A - i and
// e_b = B - j with A and B the largest of the row's and of the column's group. Then E = A + B - s, s the least i + j.
// The byte 0xff << (i + j), with all bits from i + j on, is column j's byte in the i-th of eight planes that are made
// of each panel (more than seven below the largest: an empty byte); the OR of all products' bytes has 8 - s bits. Where
// that is none, s is 8 or more or every product is zero, and the row is done again by saturating differences of
// exponent bytes and their maximum. There E has a lower clamp (-32 in float, -121 in double) that changes nothing: at
// the clamp the grid is finer than the last bit of anything that can be in c.
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
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "numerics/gemm_packing-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows that share a load of B: as many as there are registers for.
#if HWY_TARGET <= HWY_AVX3
constexpr int kRows = 4;
#else
constexpr int kRows = 2;
#endif
// Vectors of B beside each other in the inner loop, times how often it runs for the columns of one vector of bytes.
#if HWY_TARGET == HWY_SCALAR
constexpr int kVectors = 1;
template <typename T>
constexpr int kParts = 1;
#else
constexpr int kVectors = 4;
template <typename T>
constexpr int kParts = sizeof(T) / sizeof(float);
#endif

constexpr std::int64_t kChunkRows = 64;    // rows of A packed at a time
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

// What the inner loop needs of the rule, in lanes of T.
template <typename T>
struct Grid {
  using Bits = hwy::MakeUnsigned<T>;

  explicit Grid(const MmaRule& rule) {
    constexpr int kFractionBits = LaneLimits<T>::kFractionBits;
    constexpr Bits kBias = sizeof(T) == sizeof(float) ? 127 : 1023;
    const bool narrow = sizeof(T) == sizeof(float);
    const int t = narrow ? 16 : rule.fraction_bits + 3;
    const int kept = narrow ? 13 : 23;
    exponent_offset = (kBias - LaneLimits<T>::kCodeOfZero) << kFractionBits;
    to_magic = (static_cast<Bits>(kFractionBits - rule.fraction_bits) << kFractionBits) | Bits{1}
                                                                                              << (kFractionBits - 1);
    beyond = 1 + std::ldexp(T{1}, -t);
    result_mask = ~((Bits{1} << (kFractionBits - kept)) - 1);
    exponent_mask = (2 * kBias + 1) << kFractionBits;
    step_k = rule.step_k;
    step_bits = std::countr_zero(static_cast<unsigned>(rule.step_k));
  }

  Bits exponent_offset;  // to a byte of E, shifted to the exponent's place: 2^E
  Bits to_magic;         // to the bits of 2^E: those of M
  T beyond;              // 1 + 2^-t
  Bits result_mask;      // of what a result keeps
  Bits exponent_mask;
  int step_k;     // a power of two
  int step_bits;  // its logarithm
};

// One tile of outputs, in lanes of T, from codes as wide as Code in both operands.
template <typename T, typename CodeA, typename CodeB>
class TileRun {
  using Bits = hwy::MakeUnsigned<T>;

 public:
  TileRun(const GemmProblem& problem, const OutputTile& tile)
      : problem_(problem),
        tile_(tile),
        grid_(problem.rule),
        promotes_(problem.promotes() && problem.promotion.every < problem.k()),
        block_k_(promotes_ ? problem.promotion.every
                           : std::clamp(round_up(problem.k(), grid_.step_k), std::int64_t{grid_.step_k}, kChainBlock)),
        panels_(ceil_div(tile.cols, kPanelCols)),
        rows_(problem.operands.a, kChunkRows, kRows, block_k_, grid_.step_k),
        columns_(problem.operands.b, panels_, block_k_, grid_.step_k, grid_.beyond),
        planes_(
            hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>((kPlanes + 1) * grid_.step_k * kPanelCols))),
        c_(hwy::AllocateAligned<T>(static_cast<std::size_t>(panels_ * kChunkRows * kPanelCols))),
        scale_a_(static_cast<std::size_t>(kChunkRows), 1.0F),
        scale_b_(static_cast<std::size_t>(tile.cols), 1.0F),
        refused_rows_(static_cast<std::size_t>(tile.rows)),
        refused_cols_(static_cast<std::size_t>(panels_ * kPanelCols)) {}

  LinesLeft run() {
    std::fill_n(planes_.get(), (kPlanes + 1) * grid_.step_k * kPanelCols, std::uint8_t{0});
    for (std::int64_t i = 0; i < tile_.rows; ++i) std::fill_n(tile_.y + i * tile_.stride, tile_.cols, 0.0F);
    for (std::int64_t k = 0; k < problem_.k(); k += block_k_) {
      const std::int64_t length = std::min(block_k_, problem_.k() - k);
      for (std::int64_t panel = 0; panel < panels_; ++panel) {
        const std::int64_t col = panel * kPanelCols;
        columns_.pack(panel, tile_.col + col, std::min(kPanelCols, tile_.cols - col), k, length,
                      refused_cols_.data() + col);
      }
      load_scales_b(k);
      for (std::int64_t row = 0; row < tile_.rows; row += kChunkRows)
        run_chunk(row, std::min(kChunkRows, tile_.rows - row), k, length);
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
    for (std::int64_t i = 0; i < rows; ++i) {
      scale_a_[static_cast<std::size_t>(i)] = scale_a(row + i, k);
    }
    const std::int64_t groups = ceil_div(length, grid_.step_k);
    const bool from_zero = promotes_ || k == 0;
    if (!from_zero)
      for (std::int64_t panel = 0; panel < panels_; ++panel) load_c(panel, row, rows);
    {
      const TowardZero mode;
      for (std::int64_t group = 0; group < groups; ++group) {
        for (std::int64_t panel = 0; panel < panels_; ++panel) {
          const float* next = group + 1 == groups ? tile_.y + row * tile_.stride + panel * kPanelCols : nullptr;
          if (from_zero && group == 0)
            add_group<true>(panel, group, rows, next);
          else
            add_group<false>(panel, group, rows, next);
        }
      }
    }
    for (std::int64_t panel = 0; panel < panels_; ++panel) store_c(panel, row, rows);
  }

  [[nodiscard]] T* c_of(std::int64_t panel, std::int64_t i) { return c_.get() + (panel * kChunkRows + i) * kPanelCols; }

  HWY_NOINLINE void load_c(std::int64_t panel, std::int64_t row, std::int64_t rows) {
    const hn::ScalableTag<T> d;
    const hn::Rebind<float, decltype(d)> f;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const std::int64_t cols = std::min(kPanelCols, tile_.cols - panel * kPanelCols);
    for (std::int64_t i = 0; i < round_up(rows, kRows); ++i) {
      const float* y = tile_.y + (row + std::min(i, rows - 1)) * tile_.stride + panel * kPanelCols;
      T* c = c_of(panel, i);
      std::int64_t j = 0;
      for (; j + lanes <= cols; j += lanes) hn::Store(from_floats(hn::LoadU(f, y + j)), d, c + j);
      for (; j < cols; ++j) c[j] = y[j];
      std::fill(c + cols, c + kPanelCols, T{0});
    }
  }

  // The chunk's results of one panel: to y as they are, or promoted.
  HWY_NOINLINE void store_c(std::int64_t panel, std::int64_t row, std::int64_t rows) {
    const std::int64_t col = panel * kPanelCols;
    const std::int64_t cols = std::min(kPanelCols, tile_.cols - col);
    const float* scale_b = scale_b_.data() + col;
    for (std::int64_t i = 0; i < rows; ++i) {
      float* y = tile_.y + (row + i) * tile_.stride + col;
      const T* c = c_of(panel, i);
      const float scale_a = scale_a_[static_cast<std::size_t>(i)];
      std::int64_t j = promotes_ ? promote_vectors(c, cols, scale_a, scale_b, y) : copy_vectors(c, cols, y);
      for (; j < cols; ++j) {
        const auto partial = static_cast<float>(c[j]);
        y[j] = promotes_ ? promote(problem_.promotion.order, partial, scale_a, scale_b[j], y[j]) : partial;
      }
    }
  }

  static HWY_INLINE std::int64_t copy_vectors(const T* c, std::int64_t cols, float* y) {
    const hn::ScalableTag<T> d;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    std::int64_t j = 0;
    for (; j + lanes <= cols; j += lanes)
      hn::StoreU(to_floats(hn::Load(d, c + j)), hn::Rebind<float, decltype(d)>(), y + j);
    return j;
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
  HWY_INLINE std::int64_t promote_vectors(const T* c, std::int64_t cols, float scale_a, const float* scale_b,
                                          float* y) {
#if HWY_NATIVE_FMA
    const hn::ScalableTag<T> d;
    const hn::Rebind<float, decltype(d)> f;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    std::int64_t j = 0;
    for (; j + lanes <= cols; j += lanes)
      hn::StoreU(promoted(f, to_floats(hn::Load(d, c + j)), scale_a, scale_b + j, hn::LoadU(f, y + j)), f, y + j);
    return j;
#else
    (void)c, (void)cols, (void)scale_a, (void)scale_b, (void)y;
    return 0;
#endif
  }

  template <typename V>
  static HWY_INLINE auto to_floats(V v) {
    if constexpr (sizeof(T) == sizeof(float))
      return v;
    else
      return hn::DemoteTo(hn::Rebind<float, hn::ScalableTag<double>>(), v);
  }
  template <typename V>
  static HWY_INLINE auto from_floats(V v) {
    if constexpr (sizeof(T) == sizeof(float))
      return v;
    else
      return hn::PromoteTo(hn::ScalableTag<double>(), v);
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

  // The hot loop: one group of K, all rows of the chunk, the columns of one panel. c = step(a, b, c). After the last
  // group c goes to y: meanwhile its lines are fetched.
  template <bool kFromZero>
  HWY_NOINLINE void add_group(std::int64_t panel, std::int64_t group, std::int64_t rows, const float* y) {
    constexpr hn::ScalableTag<T> d;
    constexpr hn::RebindToUnsigned<decltype(d)> u;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const std::int64_t step_k = grid_.step_k;
    const std::int64_t stride = rows_.stride;
    const std::int64_t offset = (panel * columns_.k + group * step_k) * kPanelCols;
    const T* HWY_RESTRICT b_panel = columns_.values.get() + offset;
    make_planes(panel, group);
    const Bits* HWY_RESTRICT negative_b = columns_.negative.get() + (panel * columns_.groups + group) * kPanelCols;
    const auto to_magic = hn::Set(u, grid_.to_magic);
    const auto exponent_mask = hn::Set(u, grid_.exponent_mask);
    const auto exponent_offset = hn::Set(u, grid_.exponent_offset);
    const auto result_mask = hn::Set(u, grid_.result_mask);
    const auto beyond = hn::Set(d, grid_.beyond);
    HWY_ALIGN std::array<std::uint8_t, kRows * kPanelCols> largest;
    HWY_ALIGN std::array<T, kRows * kVectors * hn::MaxLanes(d)> magic;

    // E of the next strip of rows is found while the products of this one are added: loads beside FMAs.
    Below below;
    for (std::int64_t k = 0; k < step_k; k += 4) below.add(*this, group, 0, k);
    for (std::int64_t i = 0; i < rows; i += kRows) {
      const T* HWY_RESTRICT a = rows_.values.get() + i * stride + group * step_k;
      store_largest(below, panel, group, i, largest.data());
      below = Below();
      const std::int64_t next = i + kRows < rows ? i + kRows : i;
      if (y != nullptr)
        for (std::int64_t r = i; r < std::min(i + kRows, rows); ++r)
          for (std::int64_t j = 0; j < kPanelCols; j += 16) hwy::Prefetch(y + r * tile_.stride + j);
      for (int part = 0; part < kParts<T>; ++part) {
        const std::int64_t first = part * kVectors * lanes;
        hn::Vec<decltype(d)> acc[kRows][kVectors];
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          const Bits negative_a = rows_.negative[static_cast<std::size_t>((i + r) * rows_.groups + group)];
          const T* c = c_of(panel, i + r) + first;
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) {
            const auto code = widen(largest.data() + r * kPanelCols + first + v * lanes);
            auto power = hn::ShiftLeft<LaneLimits<T>::kFractionBits>(code);
            if constexpr (sizeof(T) == sizeof(double)) power = hn::Add(power, exponent_offset);
            const auto negative =
                hn::PopulationCount(hn::Xor(hn::Set(u, negative_a), hn::Load(u, negative_b + first + v * lanes)));
            if constexpr (kFromZero) {
              const auto m = hn::Add(power, to_magic);
              hn::Store(hn::BitCast(d, m), d, magic.data() + (r * kVectors + v) * lanes);
              acc[r][v] = hn::BitCast(d, hn::Add(m, negative));
            } else {
              const auto before = hn::Load(d, c + v * lanes);
              const auto power_c = hn::And(hn::BitCast(u, before), exponent_mask);
              power = hn::BitCast(u, hn::Max(hn::BitCast(d, power), hn::BitCast(d, power_c)));
              const auto m = hn::BitCast(d, hn::Add(power, to_magic));
              hn::Store(m, d, magic.data() + (r * kVectors + v) * lanes);
              const auto counted = hn::Add(hn::BitCast(u, hn::MulAdd(before, beyond, m)), negative);
              const auto c_negative = hn::ShiftRight<8 * sizeof(T) - 1>(hn::BitCast(u, before));
              acc[r][v] = hn::BitCast(d, hn::Add(counted, c_negative));
            }
          }
        }
        const T* HWY_RESTRICT b = b_panel + first;
        for (std::int64_t k = 0; k < step_k; k += 4) {
          if (part == 0) below.add(*this, group, next, k);
#pragma GCC unroll 4
          for (std::int64_t q = 0; q < 4; ++q, b += kPanelCols) {
            hn::Vec<decltype(d)> column[kVectors];
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; ++v) {
              column[v] = hn::Load(d, b + v * lanes);
#if HWY_TARGET == HWY_AVX2 && defined(__GNUC__)
              // Keeps the load out of the FMAs, where it would be done once a row.
              asm("" : "+x"(column[v].raw));  // NOLINT(hicpp-no-assembler)
#endif
            }
#pragma GCC unroll 8
            for (int r = 0; r < kRows; ++r) {
              const auto x = hn::Set(d, a[r * stride + k + q]);
#pragma GCC unroll 8
              for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(x, column[v], acc[r][v]);
            }
          }
        }
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          T* c = c_of(panel, i + r) + first;
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) {
            const auto sum = hn::Sub(acc[r][v], hn::Load(d, magic.data() + (r * kVectors + v) * lanes));
            hn::Store(hn::BitCast(d, hn::And(hn::BitCast(u, sum), result_mask)), d, c + v * lanes);
          }
        }
      }
    }
  }

  // Bytes as lanes of Bits.
  static HWY_INLINE auto widen(const std::uint8_t* HWY_RESTRICT from) {
    const hn::ScalableTag<Bits> u;
    const hn::Rebind<std::uint8_t, decltype(u)> narrow;
    if constexpr (sizeof(T) == sizeof(float))
      return hn::PromoteTo(u, hn::Load(narrow, from));
    else
      return hn::PromoteTo(u, hn::PromoteTo(hn::Rebind<std::uint32_t, decltype(u)>(), hn::Load(narrow, from)));
  }

  // 0xff << below: nothing from 8 on.
  static HWY_INLINE hn::Vec<decltype(kBytes)> bits_from(hn::Vec<decltype(kBytes)> below) {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(kBytes, static_cast<std::uint8_t>(0xff << hn::GetLane(below)));
#else
    HWY_ALIGN static constexpr std::array<std::uint8_t, 16> kTable = {0xff, 0xfe, 0xfc, 0xf8, 0xf0, 0xe0, 0xc0, 0x80};
    return hn::TableLookupBytes(hn::LoadDup128(kBytes, kTable.data()), below);
#endif
  }

  // The planes of a group of a panel.
  HWY_NOINLINE void make_planes(std::int64_t panel, std::int64_t group) {
    const auto largest = hn::Load(kBytes, columns_.largest.get() + (panel * columns_.groups + group) * kPanelCols);
    const std::uint8_t* exponents = columns_.exponents.get() + (panel * columns_.k + group * grid_.step_k) * kPanelCols;
    const std::int64_t plane = grid_.step_k * kPanelCols;
    for (std::int64_t k = 0; k < plane; k += kPanelCols) {
      const auto exponent = hn::Load(kBytes, exponents + k);
      const auto below = hn::Min(hn::Sub(exponent, largest), hn::Set(kBytes, kPlanes));
      // A column that is zero throughout is 0 below its largest, and must be empty.
      const auto zero = hn::Eq(exponent, hn::Set(kBytes, kZeroByteOfB));
      auto byte = hn::IfThenZeroElse(zero, bits_from(below));
      std::uint8_t* lines = planes_.get() + k * (kPlanes + 1);
      for (std::int64_t i = 0; i < kPlanes; ++i) {
        hn::Store(byte, kBytes, lines + i * kPanelCols);
        byte = hn::Add(byte, byte);  // << 1
      }
    }
  }

  // For kRows rows and the panel's columns: the OR of the products' bytes so far.
  struct Below {
    HWY_INLINE Below() {
#pragma GCC unroll 8
      for (auto& row : bits) row = hn::Zero(kBytes);
    }
    // Elements k to k + 3 of the group, for rows from row i of the chunk on.
    HWY_INLINE void add(const TileRun& run, std::int64_t group, std::int64_t i, std::int64_t k) {
      constexpr std::int64_t kOfOneK = (kPlanes + 1) * kPanelCols;
      const std::uint8_t* HWY_RESTRICT lines = run.planes_.get() + k * kOfOneK;
      const std::uint8_t* HWY_RESTRICT places =
          run.rows_.planes.get() + i * run.rows_.stride + group * run.grid_.step_k + k;
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const std::uint8_t* place = places + r * run.rows_.stride;
        const auto p0 = hn::Load(kBytes, lines + std::size_t{place[0]} * kPlaceUnit);
        const auto p1 = hn::Load(kBytes, lines + kOfOneK + std::size_t{place[1]} * kPlaceUnit);
        const auto p2 = hn::Load(kBytes, lines + 2 * kOfOneK + std::size_t{place[2]} * kPlaceUnit);
        const auto p3 = hn::Load(kBytes, lines + 3 * kOfOneK + std::size_t{place[3]} * kPlaceUnit);
        bits[r] = hn::Or3(hn::Or3(bits[r], p0, p1), p2, p3);
      }
    }
    hn::Vec<decltype(kBytes)> bits[kRows];
  };

  // Bytes of E of kRows rows from row i of the chunk on and the panel's columns, without c's part.
  HWY_INLINE void store_largest(const Below& below, std::int64_t panel, std::int64_t group, std::int64_t i,
                                std::uint8_t* HWY_RESTRICT largest) const {
    const auto of_columns = hn::Load(kBytes, columns_.largest.get() + (panel * columns_.groups + group) * kPanelCols);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const int of_row = rows_.largest[static_cast<std::size_t>((i + r) * rows_.groups + group)];
      const auto both = hn::Sub(hn::Set(kBytes, static_cast<std::uint8_t>(of_row - kPlanes)), of_columns);
      hn::Store(hn::Add(both, hn::PopulationCount(below.bits[r])), kBytes, largest + r * kPanelCols);
      if (HWY_UNLIKELY(!hn::AllFalse(kBytes, hn::Eq(below.bits[r], hn::Zero(kBytes)))))
        largest_exponents_of_row(panel, group, i + r, largest + r * kPanelCols);
    }
  }

  // The same for one row, however far exponents lie apart.
  HWY_NOINLINE void largest_exponents_of_row(std::int64_t panel, std::int64_t group, std::int64_t i,
                                             std::uint8_t* HWY_RESTRICT largest) const {
    constexpr int kLeast = LaneLimits<T>::kLeastE + LaneLimits<T>::kCodeOfZero;
    const std::uint8_t* a = rows_.exponents.get() + i * rows_.stride + group * grid_.step_k;
    const std::uint8_t* b = columns_.exponents.get() + (panel * columns_.k + group * grid_.step_k) * kPanelCols;
    auto e = hn::Set(kBytes, kLeast);
    for (std::int64_t k = 0; k < grid_.step_k; ++k)
      e = hn::Max(e, hn::SaturatedSub(hn::Set(kBytes, a[k]), hn::Load(kBytes, b + k * kPanelCols)));
    hn::Store(e, kBytes, largest);
  }

  const GemmProblem& problem_;
  const OutputTile& tile_;
  Grid<T> grid_;
  bool promotes_;  // more than once
  std::int64_t block_k_;
  std::int64_t panels_;
  PackedRows<T, CodeA> rows_;
  PackedPanels<T, CodeB> columns_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> planes_;  // [step_k, kPlanes + 1, kPanelCols], the last of each k empty
  hwy::AlignedFreeUniquePtr<T[]> c_;                  // [panels, kChunkRows, kPanelCols]
  std::vector<float> scale_a_;                        // [kChunkRows]
  std::vector<float> scale_b_;                        // [columns of the tile]
  std::vector<std::uint8_t> refused_rows_;
  std::vector<std::uint8_t> refused_cols_;
};

LinesLeft run_tile(const GemmProblem& problem, const OutputTile& tile) {
  if (fits_float(problem.rule)) return TileRun<float, std::uint8_t, std::uint8_t>(problem, tile).run();
  const int width = describe(problem.rule.a).storage_bytes;
  if (width == 1) return TileRun<double, std::uint8_t, std::uint8_t>(problem, tile).run();
  if (width == 2) return TileRun<double, std::uint16_t, std::uint16_t>(problem, tile).run();
  return TileRun<double, std::uint32_t, std::uint32_t>(problem, tile).run();
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

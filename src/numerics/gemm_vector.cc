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

#include "numerics/gemm_paths.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "numerics/gemm_vector.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/aligned_allocator.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#ifndef LASTBIT_GEMM_VECTOR_ONCE
#define LASTBIT_GEMM_VECTOR_ONCE
namespace lastbit::numerics {

// Constants of the lanes of type T.
template <typename T>
struct LaneLimits;
template <>
struct LaneLimits<float> {
  static constexpr int kFractionBits = 23;
  static constexpr int kLeastExponent = -14;  // of operands
  static constexpr int kMostExponent = 15;
  static constexpr int kCodeOfZero = 127;  // of E: the exponent field of 2^E
  static constexpr int kLeastE = -32;
  static constexpr float kZero = 0x1p-63F;
};
template <>
struct LaneLimits<double> {
  static constexpr int kFractionBits = 52;
  static constexpr int kLeastExponent = -60;
  static constexpr int kMostExponent = 50;
  static constexpr int kCodeOfZero = 121;
  static constexpr int kLeastE = -121;
  static constexpr double kZero = 0x1p-400;
};

// Bytes whose difference, saturating at 0, is E + kCodeOfZero for nonzero a and b, and 0 when either is zero.
template <typename T>
constexpr std::uint32_t kByteOfA = LaneLimits<T>::kMostExponent + LaneLimits<T>::kCodeOfZero;  // + exponent
template <typename T>
constexpr std::uint32_t kByteOfB = LaneLimits<T>::kMostExponent;  // - exponent
constexpr std::uint32_t kZeroByteOfB = 255;                       // of A: 0

// Planes of exponent bytes shifted by 0 to 7; after them an empty one.
constexpr std::int64_t kPlanes = 8;

// The narrow lanes have this rule; all others that are vectorised take the wide ones.
inline bool fits_float(const MmaRule& rule) {
  const auto fp8 = [](Format format) { return format == Format::kE4M3 || format == Format::kE5M2; };
  return fp8(rule.a) && fp8(rule.b) && rule.fraction_bits <= 13 && rule.output_grid == Format::kE8M13;
}

}  // namespace lastbit::numerics
#endif  // LASTBIT_GEMM_VECTOR_ONCE

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

const hn::ScalableTag<std::uint8_t> kBytes;
const hn::ScalableTag<std::uint32_t> kWords;
const hn::ScalableTag<float> kFloats;
constexpr std::int64_t kPanelCols = static_cast<std::int64_t>(hn::MaxLanes(kBytes));
// Places of lines are kept in bytes, in units of so many columns: x86 multiplies by 8 as it loads.
constexpr std::int64_t kPlaceUnit = kPanelCols < 8 ? 1 : 8;
constexpr std::int64_t kLineUnits = kPanelCols / kPlaceUnit;

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

// A packed block of K of one chunk of rows. Rows lie `stride` apart: whole vectors, which may reach beyond the block,
// and no power of two.
template <typename T>
struct PackedRows {
  using Bits = hwy::MakeUnsigned<T>;
  PackedRows(std::int64_t rows, std::int64_t padded_k, int step_k)
      : stride(ceil_div(padded_k, 16) * 16 + 16),
        values(hwy::AllocateAligned<T>(static_cast<std::size_t>(rows * stride))),
        exponents(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * stride))),
        planes(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * stride))),
        groups(padded_k / step_k),
        negative(hwy::AllocateAligned<Bits>(static_cast<std::size_t>(rows * groups))),
        largest(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * groups))) {}
  std::int64_t stride;
  hwy::AlignedFreeUniquePtr<T[]> values;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> exponents;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> planes;  // where the element's line starts among those of its k, / kPlaceUnit
  std::int64_t groups;
  hwy::AlignedFreeUniquePtr<Bits[]> negative;         // [rows, groups]: bit k is the sign of element k of the group
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> largest;  // [rows, groups], of exponents
};

// A packed block of K of kPanelCols columns times `panels`.
template <typename T>
struct PackedPanels {
  using Bits = hwy::MakeUnsigned<T>;
  PackedPanels(std::int64_t panels, std::int64_t padded_k, int step_k)
      : k(padded_k),
        groups(padded_k / step_k),
        values(hwy::AllocateAligned<T>(static_cast<std::size_t>(panels * k * kPanelCols))),
        exponents(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(panels * k * kPanelCols))),
        negative(hwy::AllocateAligned<Bits>(static_cast<std::size_t>(panels * groups * kPanelCols))),
        largest(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(panels * groups * kPanelCols))) {}
  std::int64_t k;
  std::int64_t groups;
  hwy::AlignedFreeUniquePtr<T[]> values;                // [panels, k, kPanelCols], times 1 + 2^-t
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> exponents;  // [panels, k, kPanelCols]
  hwy::AlignedFreeUniquePtr<Bits[]> negative;           // [panels, groups, kPanelCols]
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> largest;    // [panels, groups, kPanelCols]: the least of exponents
};

// Codes taken apart, a lane each.
struct Decoded {
  hn::Vec<decltype(kFloats)> value;    // 0 for zeros
  hn::Vec<decltype(kWords)> exponent;  // biased by 127: the exponent field in FP32 of 2^e
  hn::Mask<decltype(kWords)> zero;
  hn::Mask<decltype(kWords)> negative;  // never of a zero
  hn::Mask<decltype(kWords)> refused;
};

// Takes codes of one format apart.
template <typename T>
class Decoder {
 public:
  explicit Decoder(Format format) {
    const FormatDescriptor& d = describe(format);
    shift_ = d.code_shift;
    fraction_bits_ = d.fraction_bits;
    sign_ = d.sign_code();
    const auto bias = static_cast<std::uint32_t>(d.bias);
    normal_ = (127 - bias) << 23;
    subnormal_ = (128 - bias) << 23;
    least_code_ = (LaneLimits<T>::kLeastExponent + d.bias <= 0)
                      ? 1
                      : static_cast<std::uint32_t>(LaneLimits<T>::kLeastExponent + d.bias) << d.fraction_bits;
    most_code_ = d.max_finite_code();
    const int most_field = LaneLimits<T>::kMostExponent + d.bias;
    if (most_field < (1 << d.exponent_bits) - 1)
      most_code_ = std::min(most_code_, (static_cast<std::uint32_t>(most_field + 1) << d.fraction_bits) - 1);
  }

  [[nodiscard]] Decoded operator()(hn::Vec<decltype(kWords)> code) const {
    code = hn::ShiftRightSame(code, shift_);
    const auto magnitude = hn::And(code, hn::Set(kWords, sign_ - 1));
    const auto zero = hn::Eq(magnitude, hn::Zero(kWords));
    const auto sign = hn::And(code, hn::Set(kWords, sign_));
    const auto field = hn::ShiftRightSame(magnitude, fraction_bits_);
    const auto in_place = hn::ShiftLeftSame(magnitude, 23 - fraction_bits_);
    const auto normal = hn::Add(in_place, hn::Set(kWords, normal_));
    // m 2^(min - f), as the difference of 2^min (1 + m 2^-f) and 2^min: no subnormal FP32 number is made.
    const auto base = hn::Set(kWords, subnormal_);
    const auto difference = hn::Sub(hn::BitCast(kFloats, hn::Add(in_place, base)), hn::BitCast(kFloats, base));
    const auto is_subnormal = hn::Eq(field, hn::Zero(kWords));
    const auto value = hn::IfThenElse(is_subnormal, hn::BitCast(kWords, difference), normal);
    const auto sign_bit = hn::ShiftLeftSame(sign, 31 - std::countr_zero(sign_));
    Decoded result;
    result.value = hn::BitCast(kFloats, hn::Or(value, sign_bit));
    result.exponent = hn::Add(hn::Max(field, hn::Set(kWords, 1)), hn::Set(kWords, normal_ >> 23));
    result.zero = zero;
    result.negative = hn::AndNot(zero, hn::Ne(sign, hn::Zero(kWords)));
    const auto too_small = hn::AndNot(zero, hn::Lt(magnitude, hn::Set(kWords, least_code_)));
    result.refused = hn::Or(too_small, hn::Gt(magnitude, hn::Set(kWords, most_code_)));
    return result;
  }

 private:
  int shift_;
  int fraction_bits_;
  std::uint32_t sign_;
  std::uint32_t normal_;
  std::uint32_t subnormal_;
  std::uint32_t least_code_;
  std::uint32_t most_code_;
};

HWY_INLINE void store_values(hn::Vec<decltype(kFloats)> v, float factor, float* to) {
  hn::Store(hn::Mul(v, hn::Set(kFloats, factor)), kFloats, to);
}
HWY_INLINE void store_values(hn::Vec<decltype(kFloats)> v, double factor, double* to) {
  const hn::ScalableTag<double> doubles;
  const hn::Rebind<float, decltype(doubles)> half;
  HWY_ALIGN std::array<float, hn::MaxLanes(kFloats)> lanes;
  hn::Store(v, kFloats, lanes.data());
  const std::size_t step = hn::Lanes(doubles);
  for (std::size_t i = 0; i < hn::Lanes(kFloats); i += step)
    hn::Store(hn::Mul(hn::PromoteTo(doubles, hn::Load(half, lanes.data() + i)), hn::Set(doubles, factor)), doubles,
              to + i);
}

// `value` for packing: z where it is a zero. FP32 holds z of the float lanes; doubles replace theirs afterwards.
template <typename T>
HWY_INLINE void store_decoded(const Decoded& decoded, T factor, T* to) {
  if constexpr (sizeof(T) == sizeof(float)) {
    const auto tiny = hn::Set(kFloats, LaneLimits<float>::kZero);
    store_values(hn::IfThenElse(hn::RebindMask(kFloats, decoded.zero), tiny, decoded.value), factor, to);
  } else {
    store_values(decoded.value, factor, to);
    if (hn::AllFalse(kWords, decoded.zero)) return;
    for (std::size_t i = 0; i < hn::Lanes(kFloats); ++i)
      if (to[i] == 0) to[i] = factor * LaneLimits<double>::kZero;
  }
}

// As many codes as there are lanes of words, of any alignment.
template <typename Code>
HWY_INLINE hn::Vec<decltype(kWords)> load_codes(const std::byte* from) {
#if HWY_TARGET == HWY_SCALAR
  Code code = 0;
  std::memcpy(&code, from, sizeof(code));
  return hn::Set(kWords, code);
#else
  const hn::Rebind<Code, decltype(kWords)> narrow;
  const hn::Repartition<std::uint8_t, decltype(narrow)> bytes;
  const auto codes = hn::BitCast(narrow, hn::LoadU(bytes, reinterpret_cast<const std::uint8_t*>(from)));
  if constexpr (sizeof(Code) == 4)
    return codes;
  else
    return hn::PromoteTo(kWords, codes);
#endif
}

// Copies element (line, i) of a code matrix to tile[line * line_step + i * step].
template <typename Code>
void stage(const CodeMatrix& matrix, std::int64_t row, std::int64_t rows, std::int64_t k, std::int64_t length,
           Code* tile, std::int64_t row_step, std::int64_t k_step) {
  const std::byte* base = matrix.bytes.data() + (row * matrix.row_stride() + k * matrix.col_stride()) *
                                                    static_cast<std::int64_t>(sizeof(Code));
  const auto copy_line = [](const std::byte* from, std::int64_t count, Code* to, std::int64_t step) {
    if (step == 1) {
      std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(Code));
      return;
    }
    for (std::int64_t i = 0; i < count; ++i)
      std::memcpy(to + i * step, from + i * static_cast<std::int64_t>(sizeof(Code)), sizeof(Code));
  };
  const std::int64_t line_bytes =
      (matrix.transposed ? matrix.rows : matrix.cols) * static_cast<std::int64_t>(sizeof(Code));
  if (matrix.transposed)
    for (std::int64_t i = 0; i < length; ++i) copy_line(base + i * line_bytes, rows, tile + i * k_step, row_step);
  else
    for (std::int64_t i = 0; i < rows; ++i) copy_line(base + i * line_bytes, length, tile + i * row_step, k_step);
}

// One tile of outputs, in lanes of T, from codes as wide as Code in both operands.
template <typename T, typename CodeA, typename CodeB>
class TileRun {
  using Bits = hwy::MakeUnsigned<T>;
  static constexpr std::int64_t kWidthA = sizeof(CodeA);

 public:
  TileRun(const GemmProblem& problem, const OutputTile& tile)
      : problem_(problem),
        tile_(tile),
        grid_(problem.rule),
        decode_a_(problem.rule.a),
        decode_b_(problem.rule.b),
        promotes_(problem.promotes() && problem.promotion.every < problem.k()),
        block_k_(promotes_ ? problem.promotion.every
                           : std::clamp(round_up(problem.k(), grid_.step_k), std::int64_t{grid_.step_k}, kChainBlock)),
        panels_(ceil_div(tile.cols, kPanelCols)),
        rows_(kChunkRows, block_k_, grid_.step_k),
        columns_(panels_, block_k_, grid_.step_k),
        // Vectors may read and write a little beyond a line's end.
        staged_a_(static_cast<std::size_t>(kChunkRows * rows_.stride)),
        staged_b_(static_cast<std::size_t>(block_k_ * kPanelCols)),
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
      for (std::int64_t panel = 0; panel < panels_; ++panel) pack_panel(panel, k, length);
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
  static std::int64_t round_up(std::int64_t value, std::int64_t step) { return ceil_div(value, step) * step; }

  // What rows and columns beyond the matrix are filled with: nothing out of the ordinary.
  template <typename Code>
  static Code code_of_one(Format format) {
    const FormatDescriptor& d = describe(format);
    return static_cast<Code>(static_cast<Code>(d.bias) << d.fraction_bits << d.code_shift);
  }

  // Columns of B and a block of K: transposed to [k, columns], taken apart, padded with zeros.
  HWY_NOINLINE void pack_panel(std::int64_t panel, std::int64_t k, std::int64_t length) {
    const std::int64_t col = panel * kPanelCols;
    const std::int64_t cols = std::min(kPanelCols, tile_.cols - col);
    std::fill(staged_b_.begin(), staged_b_.end(), CodeB{0});
    for (std::int64_t i = 0; i < length; ++i)
      std::fill(staged_b_.begin() + i * kPanelCols + cols, staged_b_.begin() + (i + 1) * kPanelCols,
                code_of_one<CodeB>(problem_.rule.b));
    stage(problem_.operands.b, tile_.col + col, cols, k, length, staged_b_.data(), 1, kPanelCols);
    const std::int64_t groups = ceil_div(length, grid_.step_k);
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(kWords));
    const Decoder<T> decode = decode_b_;  // a copy whose constants no store can change
    for (std::int64_t j = 0; j < kPanelCols; j += lanes) {
      auto refused = hn::Zero(kWords);
      for (std::int64_t group = 0; group < groups; ++group) {
        auto negative = hn::Zero(kWords);
        auto largest = hn::Set(kWords, kZeroByteOfB);
        for (int i = 0; i < grid_.step_k; ++i) {
          const std::int64_t place = (group * grid_.step_k + i) * kPanelCols + j;
          const Decoded decoded =
              decode(load_codes<CodeB>(reinterpret_cast<const std::byte*>(staged_b_.data() + place)));
          const std::int64_t out = panel * columns_.k * kPanelCols + place;
          store_decoded(decoded, grid_.beyond, columns_.values.get() + out);
          const auto from_exponent = hn::Sub(hn::Set(kWords, kByteOfB<T> + 127), decoded.exponent);
          const auto byte = hn::IfThenElse(decoded.zero, hn::Set(kWords, kZeroByteOfB), from_exponent);
          store_bytes(byte, columns_.exponents.get() + out);
          largest = hn::Min(largest, hn::And(byte, hn::Set(kWords, 255)));
          negative = hn::Or(negative, hn::IfThenElseZero(decoded.negative, hn::Set(kWords, 1u << i)));
          refused = hn::Or(refused, hn::VecFromMask(kWords, decoded.refused));
        }
        const std::int64_t out = (panel * columns_.groups + group) * kPanelCols + j;
        store_signs(negative, columns_.negative.get() + out);
        store_bytes(largest, columns_.largest.get() + out);
      }
      HWY_ALIGN std::array<std::uint32_t, hn::MaxLanes(kWords)> flags;
      hn::Store(refused, kWords, flags.data());
      for (std::int64_t i = 0; i < lanes; ++i)
        refused_cols_[static_cast<std::size_t>(col + j + i)] |= flags[static_cast<std::size_t>(i)];
    }
  }

  static HWY_INLINE void store_bytes(hn::Vec<decltype(kWords)> words, std::uint8_t* to) {
    const hn::Rebind<std::uint8_t, decltype(kWords)> bytes;
    hn::Store(hn::U8FromU32(hn::And(words, hn::Set(kWords, 255))), bytes, to);
  }

  static HWY_INLINE void store_signs(hn::Vec<decltype(kWords)> words, Bits* to) {
    HWY_ALIGN std::array<std::uint32_t, hn::MaxLanes(kWords)> lanes;
    hn::Store(words, kWords, lanes.data());
    std::copy_n(lanes.data(), hn::Lanes(kWords), to);
  }

  // A chunk of rows of A and a block of K, taken apart; padded with zeros to whole groups and whole strips of rows.
  HWY_NOINLINE void pack_rows(std::int64_t row, std::int64_t rows, std::int64_t k, std::int64_t length) {
    const std::int64_t padded = round_up(length, grid_.step_k);
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(kWords));
    const CodeMatrix& matrix = problem_.operands.a;
    // Whole vectors of rows that lie in one piece are read where they are.
    const bool in_place = !matrix.transposed && length % std::max<std::int64_t>(lanes, grid_.step_k) == 0;
    std::fill(staged_a_.begin(), staged_a_.end(), CodeA{0});
    for (std::int64_t r = rows; r < round_up(rows, kRows); ++r)
      std::fill_n(staged_a_.begin() + r * rows_.stride, length, code_of_one<CodeA>(matrix.format));
    if (!in_place) stage(matrix, tile_.row + row, rows, k, length, staged_a_.data(), rows_.stride, 1);
    const std::uint32_t group_mask = ~0u >> (32 - grid_.step_k);
    const Decoder<T> decode = decode_a_;  // a copy whose constants no store can change
    for (std::int64_t r = 0; r < round_up(rows, kRows); ++r) {
      auto refused = hn::Zero(kWords);
      const std::byte* codes = in_place && r < rows
                                   ? matrix.bytes.data() + ((tile_.row + row + r) * matrix.cols + k) * kWidthA
                                   : reinterpret_cast<const std::byte*>(staged_a_.data() + r * rows_.stride);
      for (std::int64_t i = 0; i < padded; i += lanes) {
        const std::int64_t place = r * rows_.stride + i;
        const Decoded decoded = decode(load_codes<CodeA>(codes + i * kWidthA));
        store_decoded(decoded, T{1}, rows_.values.get() + place);
        const auto from_exponent = hn::Sub(decoded.exponent, hn::Set(kWords, 127 - kByteOfA<T>));
        store_bytes(hn::IfThenZeroElse(decoded.zero, from_exponent), rows_.exponents.get() + place);
        set_signs(r, i, lanes, mask_bits(decoded.negative), group_mask);
        refused = hn::Or(refused, hn::VecFromMask(kWords, decoded.refused));
      }
      choose_planes(r, padded);
      if (r < rows && !hn::AllFalse(kWords, hn::Ne(refused, hn::Zero(kWords))))
        refused_rows_[static_cast<std::size_t>(row + r)] = 1;
    }
  }

  // The largest exponent of each group of row r, and for each element the plane that lies as far below it.
  HWY_INLINE void choose_planes(std::int64_t r, std::int64_t padded) {
    constexpr std::int64_t kBlock = 16;
    const std::uint8_t* exponents = rows_.exponents.get() + r * rows_.stride;
    std::uint8_t* largest = rows_.largest.get() + r * rows_.groups;
    std::array<std::uint8_t, kBlock> of_group{};  // spread over the group's elements
    for (std::int64_t k = 0; k < padded; k += kBlock) {
      const std::int64_t within = k & (grid_.step_k - 1);
      if (within == 0) spread_largest(exponents + k, of_group.data());
      for (std::int64_t i = 0; i < std::min<std::int64_t>(kBlock, padded - k); i += grid_.step_k)
        largest[(k + i) >> grid_.step_bits] = of_group[static_cast<std::size_t>(i)];
      place_planes(exponents + k, of_group.data(), rows_.planes.get() + r * rows_.stride + k);
    }
  }

#if HWY_TARGET == HWY_SCALAR
  HWY_INLINE void spread_largest(const std::uint8_t* exponents, std::uint8_t* spread) const {
    for (std::int64_t i = 0; i < 16; i += grid_.step_k)
      std::fill_n(spread + i, std::min(16, grid_.step_k),
                  *std::max_element(exponents + i, exponents + i + grid_.step_k));
  }

  static HWY_INLINE void place_planes(const std::uint8_t* exponents, const std::uint8_t* largest,
                                      std::uint8_t* places) {
    for (std::int64_t i = 0; i < 16; ++i) {
      const std::int64_t below =
          exponents[i] == 0 ? kPlanes : std::min<std::int64_t>(largest[i] - exponents[i], kPlanes);
      places[i] = static_cast<std::uint8_t>(below * kLineUnits);
    }
  }
#else
  // 16 elements (32 for groups of 32): each becomes the largest of its group.
  HWY_INLINE void spread_largest(const std::uint8_t* exponents, std::uint8_t* spread) const {
    const hn::FixedTag<std::uint8_t, 16> bytes;
    const hn::FixedTag<std::uint32_t, 4> words;
    const hn::FixedTag<std::uint64_t, 2> pairs;
    const auto max_with = [&](auto x, auto y) { return hn::Max(x, hn::BitCast(bytes, y)); };
    auto largest = hn::LoadU(bytes, exponents);
    if (grid_.step_k == 32) largest = hn::Max(largest, hn::LoadU(bytes, exponents + 16));
    largest = max_with(largest, hn::RotateRight<8>(hn::BitCast(words, largest)));
    largest = max_with(largest, hn::RotateRight<16>(hn::BitCast(words, largest)));
    if (grid_.step_k >= 8) largest = max_with(largest, hn::Shuffle2301(hn::BitCast(words, largest)));
    if (grid_.step_k >= 16) largest = max_with(largest, hn::Shuffle01(hn::BitCast(pairs, largest)));
    hn::StoreU(largest, bytes, spread);
  }

  static HWY_INLINE void place_planes(const std::uint8_t* exponents, const std::uint8_t* largest,
                                      std::uint8_t* places) {
    const hn::FixedTag<std::uint8_t, 16> bytes;
    HWY_ALIGN static constexpr std::array<std::uint8_t, 16> kPlaces = [] {
      std::array<std::uint8_t, 16> table{};
      for (std::size_t i = 0; i <= kPlanes; ++i) table[i] = static_cast<std::uint8_t>(i * kLineUnits);
      return table;
    }();
    const auto exponent = hn::LoadU(bytes, exponents);
    const auto empty = hn::Set(bytes, kPlanes);
    const auto below = hn::Min(hn::Sub(hn::LoadU(bytes, largest), exponent), empty);
    const auto index = hn::IfThenElse(hn::Eq(exponent, hn::Zero(bytes)), empty, below);
    hn::StoreU(hn::TableLookupBytes(hn::Load(bytes, kPlaces.data()), index), bytes, places);
  }
#endif

  static HWY_INLINE std::uint32_t mask_bits(hn::Mask<decltype(kWords)> mask) {
    std::array<std::uint8_t, 8> bytes;
    (void)hn::StoreMaskBits(kWords, mask, bytes.data());
    // As many bytes as were written, no more: the load waits for them otherwise.
    std::conditional_t<(hn::MaxLanes(kWords) > 8), std::uint16_t, std::uint8_t> bits = 0;
    std::memcpy(&bits, bytes.data(), sizeof(bits));
    return bits;
  }

  // `count` sign bits of row r from element k on; groups are as long as lanes, or one is a multiple of the other.
  HWY_INLINE void set_signs(std::int64_t r, std::int64_t k, std::int64_t count, std::uint32_t word,
                            std::uint32_t group_mask) {
    Bits* negative = rows_.negative.get() + r * rows_.groups;
    for (std::int64_t i = 0; i < count; i += grid_.step_k) {
      const std::int64_t group = (k + i) >> grid_.step_bits;
      if (group >= rows_.groups) return;
      const std::int64_t within = (k + i) & (grid_.step_k - 1);
      const Bits bits = (word >> i & group_mask) << within;
      negative[group] = within == 0 ? bits : negative[group] | bits;
    }
  }

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
    pack_rows(row, rows, k, length);
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

  // promote() on whole vectors; the number of columns done: none where FMA would be two roundings.
  HWY_INLINE std::int64_t promote_vectors(const T* c, std::int64_t cols, float scale_a, const float* scale_b,
                                          float* y) {
#if HWY_NATIVE_FMA
    const hn::ScalableTag<T> d;
    const hn::Rebind<float, decltype(d)> f;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const PromotionOrder order = problem_.promotion.order;
    const auto sa = hn::Set(f, scale_a);
    const auto nan = hn::BitCast(f, hn::Set(hn::Rebind<std::uint32_t, decltype(d)>(), 0x7fffffffu));
    std::int64_t j = 0;
    for (; j + lanes <= cols; j += lanes) {
      const auto partial = to_floats(hn::Load(d, c + j));
      const auto sb = hn::LoadU(f, scale_b + j);
      auto sum = hn::LoadU(f, y + j);
      if (order == PromotionOrder::kDeepgemm)
        sum = hn::MulAdd(partial, hn::Mul(sa, sb), sum);
      else if (order == PromotionOrder::kCublas)
        sum = hn::MulAdd(hn::Mul(partial, sa), sb, sum);
      else
        sum = hn::Add(sum, hn::Mul(partial, hn::Mul(sa, sb)));
      hn::StoreU(hn::IfThenElse(hn::Eq(sum, sum), sum, nan), f, y + j);
    }
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
      for (std::int64_t j = 0; j < tile_.cols; ++j) {
        float& y = tile_.y[i * tile_.stride + j];
        y = promote(problem_.promotion.order, y, scale, scale_b_[static_cast<std::size_t>(j)], 0.0F);
      }
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
  Decoder<T> decode_a_;
  Decoder<T> decode_b_;
  bool promotes_;  // more than once
  std::int64_t block_k_;
  std::int64_t panels_;
  PackedRows<T> rows_;
  PackedPanels<T> columns_;
  std::vector<CodeA> staged_a_;
  std::vector<CodeB> staged_b_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> planes_;  // [step_k, kPlanes + 1, kPanelCols], the last of each k empty
  hwy::AlignedFreeUniquePtr<T[]> c_;                  // [panels, kChunkRows, kPanelCols]
  std::vector<float> scale_a_;                        // [kChunkRows]
  std::vector<float> scale_b_;                        // [columns of the tile]
  std::vector<std::uint32_t> refused_rows_;
  std::vector<std::uint32_t> refused_cols_;
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

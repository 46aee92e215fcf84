// Operands of the vectorised GEMM in the order in which its inner loop reads them. Included once for each instruction
// set.
#if defined(LASTBIT_GEMM_PACKING_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_PACKING_INL
#undef LASTBIT_GEMM_PACKING_INL
#else
#define LASTBIT_GEMM_PACKING_INL
#endif

#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <type_traits>
#include <vector>

#include "numerics/gemm_decode-inl.h"
#include "numerics/gemm_paths.h"
#include "numerics/quantize_loops.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t step) { return ceil_div(value, step) * step; }

// Whether operands are packed as vectors of bytes: the 8-bit formats of the float lanes.
template <typename T>
constexpr bool kBytewise = HWY_TARGET != HWY_SCALAR && sizeof(T) == sizeof(float);

// What rows and columns beyond the matrix are filled with: nothing out of the ordinary.
template <typename Code>
Code code_of_one(Format format) {
  const FormatDescriptor& d = describe(format);
  return static_cast<Code>(static_cast<Code>(d.bias) << d.fraction_bits << d.code_shift);
}

HWY_INLINE void store_low_bytes(hn::Vec<decltype(kWords)> words, std::uint8_t* to) {
  const hn::Rebind<std::uint8_t, decltype(kWords)> bytes;
  hn::Store(hn::U8FromU32(hn::And(words, hn::Set(kWords, 255))), bytes, to);
}

// Copies element (line, i) of a code matrix to tile[line * row_step + i * k_step]; one of the steps is 1.
template <typename Code>
void stage(const CodeMatrix& matrix, std::int64_t row, std::int64_t rows, std::int64_t k, std::int64_t length,
           Code* tile, std::int64_t row_step, std::int64_t k_step) {
  constexpr auto kWidth = static_cast<std::int64_t>(sizeof(Code));
  const std::byte* base = matrix.bytes.data() + (row * matrix.row_stride() + k * matrix.col_stride()) * kWidth;
  // Lines of memory, and where their elements go.
  const std::int64_t lines = matrix.transposed ? length : rows;
  const std::int64_t count = matrix.transposed ? rows : length;
  const std::int64_t line_elements = matrix.transposed ? matrix.rows : matrix.cols;
  const std::int64_t line_step = matrix.transposed ? k_step : row_step;
  const std::int64_t step = matrix.transposed ? row_step : k_step;
  if (step == 1) {
    for (std::int64_t i = 0; i < lines; ++i)
      std::memcpy(tile + i * line_step, base + i * line_elements * kWidth, static_cast<std::size_t>(count * kWidth));
  } else if constexpr (kWidth == 1) {
    transpose_bytes(reinterpret_cast<const std::uint8_t*>(base), lines, count, line_elements, tile, step);
  } else {
    for (std::int64_t i = 0; i < lines; ++i)
      for (std::int64_t j = 0; j < count; ++j)
        std::memcpy(tile + i * line_step + j * step, base + (i * line_elements + j) * kWidth, kWidth);
  }
}

// A packed block of K of `panels` times kPanelCols columns.
template <typename T, typename Code>
class PackedPanels {
  using Bits = hwy::MakeUnsigned<T>;

 public:
  // `beyond`: the factor 1 + 2^-t of b.
  PackedPanels(const CodeMatrix& matrix, std::int64_t panels, std::int64_t padded_k, int step_k, T beyond)
      : k(padded_k),
        groups(padded_k / step_k),
        values(hwy::AllocateAligned<T>(static_cast<std::size_t>(panels * k * kPanelCols))),
        exponents(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(panels * k * kPanelCols))),
        negative(hwy::AllocateAligned<Bits>(static_cast<std::size_t>(panels * groups * kPanelCols))),
        largest(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(panels * groups * kPanelCols))),
        matrix_(matrix),
        step_k_(step_k),
        beyond_(beyond),
        staged_(static_cast<std::size_t>(k * kPanelCols)) {}

  // Columns [col, col + cols) of D and elements [first, first + length) of K: transposed to [k, columns], taken apart,
  // padded with zeros. Raises refused[j] for columns with operands outside the lanes' range.
  HWY_NOINLINE void pack(std::int64_t panel, std::int64_t col, std::int64_t cols, std::int64_t first,
                         std::int64_t length, std::uint8_t* refused) {
    const std::int64_t used = ceil_div(length, step_k_);
    std::fill(staged_.begin() + length * kPanelCols, staged_.begin() + used * step_k_ * kPanelCols, Code{0});
    if (cols < kPanelCols)
      for (std::int64_t i = 0; i < length; ++i)
        std::fill(staged_.begin() + i * kPanelCols + cols, staged_.begin() + (i + 1) * kPanelCols,
                  code_of_one<Code>(matrix_.format));
    stage(matrix_, col, cols, first, length, staged_.data(), 1, kPanelCols);
    if constexpr (kBytewise<T>)
      this->take_bytes_apart(panel, used, refused);
    else
      take_words_apart(panel, used, refused);
  }

  std::int64_t k;
  std::int64_t groups;
  hwy::AlignedFreeUniquePtr<T[]> values;                // [panels, k, kPanelCols], times 1 + 2^-t
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> exponents;  // [panels, k, kPanelCols]
  hwy::AlignedFreeUniquePtr<Bits[]> negative;           // [panels, groups, kPanelCols]
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> largest;    // [panels, groups, kPanelCols]: the least of exponents

 private:
  void take_words_apart(std::int64_t panel, std::int64_t used, std::uint8_t* refused_columns) {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(kWords));
    const Decoder<T> decode(matrix_.format);
    for (std::int64_t j = 0; j < kPanelCols; j += lanes) {
      auto refused = hn::Zero(kWords);
      for (std::int64_t group = 0; group < used; ++group) {
        auto signs = hn::Zero(kWords);
        auto least = hn::Set(kWords, kZeroByteOfB);
        for (int i = 0; i < step_k_; ++i) {
          const std::int64_t place = (group * step_k_ + i) * kPanelCols + j;
          const Decoded decoded = decode(load_codes<Code>(reinterpret_cast<const std::byte*>(staged_.data() + place)));
          const std::int64_t out = panel * k * kPanelCols + place;
          store_decoded(decoded, beyond_, values.get() + out);
          const auto from_exponent = hn::Sub(hn::Set(kWords, kByteOfB<T> + 127), decoded.exponent);
          const auto byte = hn::IfThenElse(decoded.zero, hn::Set(kWords, kZeroByteOfB), from_exponent);
          store_low_bytes(byte, exponents.get() + out);
          least = hn::Min(least, hn::And(byte, hn::Set(kWords, 255)));
          signs = hn::Or(signs, hn::IfThenElseZero(decoded.negative, hn::Set(kWords, 1u << i)));
          refused = hn::Or(refused, hn::VecFromMask(kWords, decoded.refused));
        }
        const std::int64_t out = (panel * groups + group) * kPanelCols + j;
        store_widened(signs, negative.get() + out);
        store_low_bytes(least, largest.get() + out);
      }
      HWY_ALIGN std::array<std::uint32_t, hn::MaxLanes(kWords)> flags;
      hn::Store(refused, kWords, flags.data());
      for (std::int64_t i = 0; i < lanes; ++i) refused_columns[j + i] |= flags[static_cast<std::size_t>(i)] != 0;
    }
  }

#if HWY_TARGET != HWY_SCALAR
  // The same for 8-bit codes, a vector of columns at a time.
  void take_bytes_apart(std::int64_t panel, std::int64_t used, std::uint8_t* refused_columns) {
    constexpr std::int64_t kBitsOfByte = 8;
    const Fp8Decoder decode(matrix_.format, beyond_);
    const auto of_exponent = hn::Set(
        kBytes, static_cast<std::uint8_t>(kByteOfB<T> + static_cast<std::uint32_t>(describe(matrix_.format).bias)));
    const auto of_zero = hn::Set(kBytes, kZeroByteOfB);
    auto most = hn::Zero(kBytes);
    for (std::int64_t group = 0; group < used; ++group) {
      auto least = of_zero;
      // Signs of eight elements of K, a byte a column.
      HWY_ALIGN std::array<std::uint8_t, 4 * kPanelCols> signs{};
      for (std::int64_t block = 0; block < step_k_; block += kBitsOfByte) {
        auto bits = hn::Zero(kBytes);
        for (std::int64_t i = std::min<std::int64_t>(block + kBitsOfByte, step_k_) - 1; i >= block; --i) {
          const std::int64_t place = (group * step_k_ + i) * kPanelCols;
          const std::int64_t out = panel * k * kPanelCols + place;
          const std::uint8_t* codes = staged_.data() + place;
          const auto code = hn::LoadU(kBytes, codes);
          const auto magnitude = hn::And(code, hn::Set(kBytes, 0x7f));
          const auto byte = hn::IfThenElse(hn::Eq(magnitude, hn::Zero(kBytes)), of_zero,
                                           hn::Sub(of_exponent, decode.field(magnitude)));
          hn::Store(byte, kBytes, exponents.get() + out);
          least = hn::Min(least, byte);
          most = hn::Max(most, magnitude);
          // Above 0x80: negative and no zero.
          const auto negative_bit = hn::IfThenElseZero(hn::Gt(code, hn::Set(kBytes, 0x80)), hn::Set(kBytes, 1));
          bits = hn::Or(hn::Add(bits, bits), negative_bit);
          for (std::int64_t j = 0; j < kPanelCols; j += static_cast<std::int64_t>(hn::Lanes(kFloats)))
            hn::Store(decode.values(codes + j), kFloats, values.get() + out + j);
        }
        hn::Store(bits, kBytes, signs.data() + block / kBitsOfByte * kPanelCols);
      }
      const std::int64_t out = (panel * groups + group) * kPanelCols;
      hn::Store(least, kBytes, largest.get() + out);
      for (std::int64_t j = 0; j < kPanelCols; j += static_cast<std::int64_t>(hn::Lanes(kWords)))
        hn::Store(joined(signs.data() + j), kWords, negative.get() + out + j);
    }
    HWY_ALIGN std::array<std::uint8_t, kPanelCols> magnitudes;
    hn::Store(most, kBytes, magnitudes.data());
    for (std::int64_t j = 0; j < kPanelCols; ++j)
      refused_columns[j] |= magnitudes[static_cast<std::size_t>(j)] > decode.most_code();
  }

  // Bytes of four lines as words, the first the lowest.
  static HWY_INLINE hn::Vec<decltype(kWords)> joined(const std::uint8_t* lines) {
    const hn::Rebind<std::uint8_t, decltype(kWords)> bytes;
    const auto line = [&](std::int64_t i) { return hn::PromoteTo(kWords, hn::Load(bytes, lines + i * kPanelCols)); };
    return hn::Or(hn::Or(line(0), hn::ShiftLeft<8>(line(1))),
                  hn::Or(hn::ShiftLeft<16>(line(2)), hn::ShiftLeft<24>(line(3))));
  }
#endif

  static HWY_INLINE void store_widened(hn::Vec<decltype(kWords)> words, Bits* to) {
    HWY_ALIGN std::array<std::uint32_t, hn::MaxLanes(kWords)> lanes;
    hn::Store(words, kWords, lanes.data());
    std::copy_n(lanes.data(), hn::Lanes(kWords), to);
  }

  const CodeMatrix& matrix_;
  int step_k_;
  T beyond_;
  std::vector<Code> staged_;
};

// A packed block of K of one chunk of rows. Rows lie `stride` apart: whole vectors, which may reach beyond the block,
// and no power of two.
template <typename T, typename Code>
class PackedRows {
  using Bits = hwy::MakeUnsigned<T>;
  static constexpr std::int64_t kWidth = sizeof(Code);
  // Vectors may read and write so much beyond the last row's end.
  static constexpr std::int64_t kBeyond = kPanelCols;

 public:
  // `strip`: rows are padded to a multiple of it.
  PackedRows(const CodeMatrix& matrix, std::int64_t rows, std::int64_t strip, std::int64_t padded_k, int step_k)
      : stride(ceil_div(padded_k, 16) * 16 + 16),
        values(hwy::AllocateAligned<T>(static_cast<std::size_t>(rows * stride + kBeyond))),
        exponents(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * stride + kBeyond))),
        planes(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * stride + kBeyond))),
        groups(padded_k / step_k),
        negative(hwy::AllocateAligned<Bits>(static_cast<std::size_t>(rows * groups))),
        largest(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * groups))),
        matrix_(matrix),
        strip_(strip),
        step_k_(step_k),
        step_bits_(std::countr_zero(static_cast<unsigned>(step_k))),
        staged_(static_cast<std::size_t>(rows * stride + kBeyond)) {}

  // Rows [row, row + rows) of A and elements [first, first + length) of K, taken apart; padded with zeros to whole
  // groups and whole strips of rows. Raises refused[i] for rows with operands outside the lanes' range.
  HWY_NOINLINE void pack(std::int64_t row, std::int64_t rows, std::int64_t first, std::int64_t length,
                         std::uint8_t* refused) {
    const std::int64_t padded = round_up(length, step_k_);
    // Whole vectors of rows that lie in one piece are read where they are.
    const std::int64_t vector = kBytewise<T> ? kPanelCols : static_cast<std::int64_t>(hn::Lanes(kWords));
    const bool in_place = !matrix_.transposed && length % std::max<std::int64_t>(vector, step_k_) == 0;
    if (!in_place) {
      std::fill(staged_.begin(), staged_.end(), Code{0});
      stage(matrix_, row, rows, first, length, staged_.data(), stride, 1);
    }
    for (std::int64_t r = rows; r < round_up(rows, strip_); ++r) {
      std::fill_n(staged_.begin() + r * stride, stride, Code{0});
      std::fill_n(staged_.begin() + r * stride, length, code_of_one<Code>(matrix_.format));
    }
    for (std::int64_t r = 0; r < round_up(rows, strip_); ++r) {
      const std::byte* codes = in_place && r < rows ? matrix_.bytes.data() + ((row + r) * matrix_.cols + first) * kWidth
                                                    : reinterpret_cast<const std::byte*>(staged_.data() + r * stride);
      bool beyond_range = false;
      if constexpr (kBytewise<T>)
        beyond_range = this->take_bytes_apart(r, padded, reinterpret_cast<const std::uint8_t*>(codes));
      else
        beyond_range = take_words_apart(r, padded, codes);
      choose_planes(r, padded);
      if (r < rows && beyond_range) refused[r] = 1;
    }
  }

  std::int64_t stride;
  hwy::AlignedFreeUniquePtr<T[]> values;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> exponents;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]>
      planes;  // where the element's line starts among those of its k, / kPlaceUnit
  std::int64_t groups;
  hwy::AlignedFreeUniquePtr<Bits[]> negative;         // [rows, groups]: bit k is the sign of element k of the group
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> largest;  // [rows, groups], of exponents

 private:
  // Both: whether an operand is outside the lanes' range.
  HWY_INLINE bool take_words_apart(std::int64_t r, std::int64_t padded, const std::byte* codes) {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(kWords));
    const Decoder<T> decode(matrix_.format);
    auto refused = hn::Zero(kWords);
    for (std::int64_t i = 0; i < padded; i += lanes) {
      const std::int64_t place = r * stride + i;
      const Decoded decoded = decode(load_codes<Code>(codes + i * kWidth));
      store_decoded(decoded, T{1}, values.get() + place);
      const auto from_exponent = hn::Sub(decoded.exponent, hn::Set(kWords, 127 - kByteOfA<T>));
      store_low_bytes(hn::IfThenZeroElse(decoded.zero, from_exponent), exponents.get() + place);
      set_signs(r, i, lanes, mask_bits(decoded.negative));
      refused = hn::Or(refused, hn::VecFromMask(kWords, decoded.refused));
    }
    return !hn::AllFalse(kWords, hn::Ne(refused, hn::Zero(kWords)));
  }

#if HWY_TARGET != HWY_SCALAR
  HWY_INLINE bool take_bytes_apart(std::int64_t r, std::int64_t padded, const std::uint8_t* codes) {
    const Fp8Decoder decode(matrix_.format, 1);
    const auto bias = static_cast<std::uint32_t>(describe(matrix_.format).bias);
    const auto of_exponent = hn::Set(kBytes, static_cast<std::uint8_t>(kByteOfA<T> - bias));
    auto most = hn::Zero(kBytes);
    for (std::int64_t i = 0; i < padded; i += kPanelCols) {
      const std::int64_t place = r * stride + i;
      const auto code = hn::LoadU(kBytes, codes + i);
      const auto magnitude = hn::And(code, hn::Set(kBytes, 0x7f));
      const auto byte = hn::Add(of_exponent, decode.field(magnitude));
      hn::StoreU(hn::IfThenZeroElse(hn::Eq(magnitude, hn::Zero(kBytes)), byte), kBytes, exponents.get() + place);
      most = hn::Max(most, magnitude);
      std::array<std::uint8_t, sizeof(std::uint64_t)> bits{};
      (void)hn::StoreMaskBits(kBytes, hn::Gt(code, hn::Set(kBytes, 0x80)), bits.data());
      set_signs(r, i, kPanelCols, std::bit_cast<std::uint64_t>(bits));
      for (std::int64_t j = 0; j < kPanelCols; j += static_cast<std::int64_t>(hn::Lanes(kFloats)))
        hn::StoreU(decode.values(codes + i + j), kFloats, values.get() + place + j);
    }
    return !hn::AllFalse(kBytes, hn::Gt(most, hn::Set(kBytes, decode.most_code())));
  }
#endif

  // The largest exponent of each group of row r, and for each element the plane that lies as far below it.
  HWY_INLINE void choose_planes(std::int64_t r, std::int64_t padded) {
    constexpr std::int64_t kBlock = 16;
    const std::uint8_t* of_row = exponents.get() + r * stride;
    std::uint8_t* largest_of_row = largest.get() + r * groups;
    std::array<std::uint8_t, kBlock> of_group{};  // spread over the group's elements
    for (std::int64_t k = 0; k < padded; k += kBlock) {
      const std::int64_t within = k & (step_k_ - 1);
      if (within == 0) spread_largest(of_row + k, of_group.data());
      for (std::int64_t i = 0; i < std::min<std::int64_t>(kBlock, padded - k); i += step_k_)
        largest_of_row[(k + i) >> step_bits_] = of_group[static_cast<std::size_t>(i)];
      place_planes(of_row + k, of_group.data(), planes.get() + r * stride + k);
    }
  }

#if HWY_TARGET == HWY_SCALAR
  HWY_INLINE void spread_largest(const std::uint8_t* of_elements, std::uint8_t* spread) const {
    for (std::int64_t i = 0; i < 16; i += step_k_)
      std::fill_n(spread + i, std::min(16, step_k_), *std::max_element(of_elements + i, of_elements + i + step_k_));
  }

  static HWY_INLINE void place_planes(const std::uint8_t* of_elements, const std::uint8_t* of_groups,
                                      std::uint8_t* places) {
    for (std::int64_t i = 0; i < 16; ++i) {
      const std::int64_t below =
          of_elements[i] == 0 ? kPlanes : std::min<std::int64_t>(of_groups[i] - of_elements[i], kPlanes);
      places[i] = static_cast<std::uint8_t>(below * kLineUnits);
    }
  }
#else
  // 16 elements (32 for groups of 32): each becomes the most of its group.
  HWY_INLINE void spread_largest(const std::uint8_t* of_elements, std::uint8_t* spread) const {
    const hn::FixedTag<std::uint8_t, 16> bytes;
    const hn::FixedTag<std::uint32_t, 4> words;
    const hn::FixedTag<std::uint64_t, 2> pairs;
    const auto max_with = [&](auto x, auto y) { return hn::Max(x, hn::BitCast(bytes, y)); };
    auto most = hn::LoadU(bytes, of_elements);
    if (step_k_ == 32) most = hn::Max(most, hn::LoadU(bytes, of_elements + 16));
    most = max_with(most, hn::RotateRight<8>(hn::BitCast(words, most)));
    most = max_with(most, hn::RotateRight<16>(hn::BitCast(words, most)));
    if (step_k_ >= 8) most = max_with(most, hn::Shuffle2301(hn::BitCast(words, most)));
    if (step_k_ >= 16) most = max_with(most, hn::Shuffle01(hn::BitCast(pairs, most)));
    hn::StoreU(most, bytes, spread);
  }

  static HWY_INLINE void place_planes(const std::uint8_t* of_elements, const std::uint8_t* of_groups,
                                      std::uint8_t* places) {
    const hn::FixedTag<std::uint8_t, 16> bytes;
    HWY_ALIGN static constexpr std::array<std::uint8_t, 16> kPlaces = [] {
      std::array<std::uint8_t, 16> table{};
      for (std::size_t i = 0; i <= kPlanes; ++i) table[i] = static_cast<std::uint8_t>(i * kLineUnits);
      return table;
    }();
    const auto exponent = hn::LoadU(bytes, of_elements);
    const auto empty = hn::Set(bytes, kPlanes);
    const auto below = hn::Min(hn::Sub(hn::LoadU(bytes, of_groups), exponent), empty);
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
  HWY_INLINE void set_signs(std::int64_t r, std::int64_t k, std::int64_t count, std::uint64_t word) {
    const std::uint32_t group_mask = ~0u >> (32 - step_k_);
    Bits* of_row = negative.get() + r * groups;
    for (std::int64_t i = 0; i < count; i += step_k_) {
      const std::int64_t group = (k + i) >> step_bits_;
      if (group >= groups) return;
      const std::int64_t within = (k + i) & (step_k_ - 1);
      const auto bits = static_cast<Bits>((word >> i & group_mask) << within);
      of_row[group] = within == 0 ? bits : of_row[group] | bits;
    }
  }

  const CodeMatrix& matrix_;
  std::int64_t strip_;
  int step_k_;
  int step_bits_;
  std::vector<Code> staged_;
};

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target

// Operands of the vectorised GEMM in the order in which its inner loop reads them. Included once for each instruction
// set.
#if defined(LASTBIT_GEMM_PACKING_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_PACKING_INL
#undef LASTBIT_GEMM_PACKING_INL
#else
#define LASTBIT_GEMM_PACKING_INL
#endif

#include <hwy/aligned_allocator.h>
#include <hwy/cache_control.h>
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
template <typename L>
constexpr bool kBytewise = HWY_TARGET != HWY_SCALAR&& std::is_same_v<L, FloatLanes>;

// Lines of the tables that gemm_kernel-inl.h makes of a panel: for each two elements of K one for
// each pair of planes, for each four one for each pattern of signs; a byte holds four bits of a column and of the one
// kHalfCols further. Rows keep the places of theirs in bytes, in units of kPlaceUnit: x86 multiplies by 8 as it loads.
constexpr std::int64_t kPairLines = kPlanes * kPlanes;
constexpr std::int64_t kSignLines = 16;
constexpr std::int64_t kPlaceUnit = kHalfCols < 8 ? 1 : 8;
constexpr std::int64_t kLineUnits = kHalfCols / kPlaceUnit;

// What columns beyond the matrix are filled with: nothing out of the ordinary.
template <typename Code>
Code code_of_one(Format format) {
  const FormatDescriptor& d = describe(format);
  return static_cast<Code>(static_cast<Code>(d.bias) << d.fraction_bits << d.code_shift);
}

// Bytes of kHalfCols columns in lane order: so that interleaving them with zeros, which goes by blocks of 16 bytes,
// until they are as wide as T gives vectors of neighbouring columns. With n blocks, and units of as many bytes as a
// block of T has lanes, unit v n + b goes to block b, v of all.
template <typename L>
class LaneOrder {
  using T = typename L::Value;

  static constexpr std::size_t kBlocks = (kHalfCols + 15) / 16;

 public:
  HWY_INLINE LaneOrder() {
#if HWY_TARGET != HWY_SCALAR
    constexpr std::size_t kUnit = 16 / sizeof(T);
    constexpr std::size_t kUnits = 16 / kUnit / kBlocks;  // of a block that go to the same one
    constexpr std::size_t kGroupWords = 4 / kBlocks;      // in each block, what goes to one
    HWY_ALIGN std::array<std::uint8_t, 16> within{};
    for (std::size_t b = 0; b < kBlocks; ++b)
      for (std::size_t v = 0; v < kUnits; ++v)
        for (std::size_t i = 0; i < kUnit; ++i)
          within[(b * kUnits + v) * kUnit + i] = static_cast<std::uint8_t>((v * kBlocks + b) * kUnit + i);
    within_ = hn::LoadDup128(kBytes, within.data());
    HWY_ALIGN std::array<std::int32_t, 4 * kBlocks> across{};
    for (std::size_t b = 0; b < kBlocks; ++b)
      for (std::size_t from = 0; from < kBlocks; ++from)
        for (std::size_t i = 0; i < kGroupWords; ++i)
          across[b * 4 + from * kGroupWords + i] = static_cast<std::int32_t>(from * 4 + b * kGroupWords + i);
    across_ = hn::SetTableIndices(kWords, across.data());
#endif
  }

  // `lines` lines of kPanelCols bytes.
  HWY_INLINE void apply(std::uint8_t* bytes, std::int64_t lines) const {
#if HWY_TARGET == HWY_SCALAR
    (void)bytes, (void)lines;
#else
    if constexpr (kBlocks == 1) return;
    for (std::uint8_t* end = bytes + lines * kPanelCols; bytes != end; bytes += kHalfCols) {
      const auto blocks = hn::TableLookupBytes(hn::Load(kBytes, bytes), within_);
      const auto ordered = hn::TableLookupLanes(hn::BitCast(kWords, blocks), across_);
      hn::Store(hn::BitCast(kBytes, ordered), kBytes, bytes);
    }
#endif
  }

#if HWY_TARGET != HWY_SCALAR
 private:
  hn::Vec<decltype(kBytes)> within_;
  decltype(hn::SetTableIndices(kWords, static_cast<const std::int32_t*>(nullptr))) across_;
#endif
};

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

// A packed block of K of `panels` times kPanelCols columns. Bytes are in lane order.
template <typename L>
class PackedPanels {
  using T = typename L::Value;

 public:
  // `beyond`: the factor 1 + 2^-t of b.
  PackedPanels(const CodeMatrix& matrix, std::int64_t panels, std::int64_t padded_k, int step_k, T beyond)
      : k_(padded_k),
        groups_(padded_k / step_k),
        step_k_(step_k),
        beyond_(beyond),
        matrix_(matrix),
        values_(hwy::AllocateAligned<T>(static_cast<std::size_t>(panels * k_ * kPanelCols))),
        exponents_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(panels * k_ * kPanelCols))),
        signs_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(panels * k_ / 4 * kPanelCols))),
        largest_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(panels * groups_ * kPanelCols))),
        staged_(static_cast<std::size_t>(k_ * kPanelCols * describe(matrix.format).storage_bytes)) {}

  // Columns [col, col + cols) of D and elements [first, first + length) of K: transposed to [k, columns], taken apart,
  // padded with zeros. Raises refused[j] for columns with operands outside the lanes' range.
  void pack(std::int64_t panel, std::int64_t col, std::int64_t cols, std::int64_t first, std::int64_t length,
            std::uint8_t* refused) {
    const int width = describe(matrix_.format).storage_bytes;
    if (kBytewise<L> || width == 1)
      pack_codes<std::uint8_t>(panel, col, cols, first, length, refused);
    else if constexpr (!kBytewise<L>) {
      if (width == 2)
        pack_codes<std::uint16_t>(panel, col, cols, first, length, refused);
      else
        pack_codes<std::uint32_t>(panel, col, cols, first, length, refused);
    }
  }

  // [step_k, kPanelCols], times 1 + 2^-t.
  [[nodiscard]] const T* values_of(std::int64_t panel, std::int64_t group) const {
    return values_.get() + (panel * k_ + group * step_k_) * kPanelCols;
  }
  // [step_k, kPanelCols]
  [[nodiscard]] const std::uint8_t* exponents_of(std::int64_t panel, std::int64_t group) const {
    return exponents_.get() + (panel * k_ + group * step_k_) * kPanelCols;
  }
  // [step_k / 4, kPanelCols]: bit i is the sign of element 4 q + i.
  [[nodiscard]] const std::uint8_t* signs_of(std::int64_t panel, std::int64_t group) const {
    return signs_.get() + (panel * k_ + group * step_k_) / 4 * kPanelCols;
  }
  // [kPanelCols]: the least of exponents_of.
  [[nodiscard]] const std::uint8_t* largest_of(std::int64_t panel, std::int64_t group) const {
    return largest_.get() + (panel * groups_ + group) * kPanelCols;
  }

 private:
  template <typename Code>
  HWY_NOINLINE void pack_codes(std::int64_t panel, std::int64_t col, std::int64_t cols, std::int64_t first,
                               std::int64_t length, std::uint8_t* refused) {
    const std::int64_t used = ceil_div(length, step_k_);
    Code* staged = reinterpret_cast<Code*>(staged_.data());
    std::fill(staged + length * kPanelCols, staged + used * step_k_ * kPanelCols, Code{0});
    if (cols < kPanelCols)
      for (std::int64_t i = 0; i < length; ++i)
        std::fill(staged + i * kPanelCols + cols, staged + (i + 1) * kPanelCols, code_of_one<Code>(matrix_.format));
    stage(matrix_, col, cols, first, length, staged, 1, kPanelCols);
    std::uint8_t* exponents = exponents_.get() + panel * k_ * kPanelCols;
    std::uint8_t* signs = signs_.get() + panel * k_ / 4 * kPanelCols;
    std::uint8_t* largest = largest_.get() + panel * groups_ * kPanelCols;
    for (std::int64_t j = 0; j < kPanelCols; j += kHalfCols) {
      const std::int64_t out = panel * k_ * kPanelCols + j;
      if constexpr (kBytewise<L>)
        this->take_bytes_apart(staged + j, used, values_.get() + out, exponents + j, signs + j, largest + j,
                               refused + j);
      else
        take_words_apart(staged + j, used, values_.get() + out, exponents + j, signs + j, largest + j, refused + j);
    }
    const LaneOrder<L> order;
    order.apply(exponents, used * step_k_);
    order.apply(signs, used * step_k_ / 4);
    order.apply(largest, used);
  }

  // kHalfCols columns of `used` groups; lines lie kPanelCols apart.
  template <typename Code>
  void take_words_apart(const Code* staged, std::int64_t used, T* values, std::uint8_t* exponents, std::uint8_t* signs,
                        std::uint8_t* largest, std::uint8_t* refused_columns) {
    constexpr int kQuad = 4;
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(kWords));
    const Decoder<L> decode(matrix_.format);
    for (std::int64_t j = 0; j < kHalfCols; j += lanes) {
      auto refused = hn::Zero(kWords);
      for (std::int64_t group = 0; group < used; ++group) {
        auto least = hn::Set(kWords, kZeroByteOfB);
        for (std::int64_t k = group * step_k_; k < (group + 1) * step_k_; k += kQuad) {
          auto bits = hn::Zero(kWords);
          for (int i = 0; i < kQuad; ++i) {
            const std::int64_t place = (k + i) * kPanelCols + j;
            const Decoded decoded = decode(load_codes<Code>(reinterpret_cast<const std::byte*>(staged + place)));
            store_decoded<L>(decoded, beyond_, values + place);
            const auto from_exponent = hn::Sub(hn::Set(kWords, kByteOfB<L> + 127), decoded.exponent);
            const auto byte = hn::IfThenElse(decoded.zero, hn::Set(kWords, kZeroByteOfB), from_exponent);
            store_low_bytes(byte, exponents + place);
            least = hn::Min(least, hn::And(byte, hn::Set(kWords, 255)));
            bits = hn::Or(bits, hn::IfThenElseZero(decoded.negative, hn::Set(kWords, 1u << i)));
            refused = hn::Or(refused, hn::VecFromMask(kWords, decoded.refused));
          }
          store_low_bytes(bits, signs + k / kQuad * kPanelCols + j);
        }
        store_low_bytes(least, largest + group * kPanelCols + j);
      }
      HWY_ALIGN std::array<std::uint32_t, hn::MaxLanes(kWords)> flags;
      hn::Store(refused, kWords, flags.data());
      for (std::int64_t i = 0; i < lanes; ++i) refused_columns[j + i] |= flags[static_cast<std::size_t>(i)] != 0;
    }
  }

#if HWY_TARGET != HWY_SCALAR
  // The same for 8-bit codes, a vector of columns at a time.
  void take_bytes_apart(const std::uint8_t* staged, std::int64_t used, float* values, std::uint8_t* exponents,
                        std::uint8_t* signs, std::uint8_t* largest, std::uint8_t* refused_columns) {
    constexpr int kQuad = 4;
    const Fp8Decoder decode(matrix_.format, beyond_);
    const auto of_exponent = hn::Set(
        kBytes, static_cast<std::uint8_t>(kByteOfB<L> + static_cast<std::uint32_t>(describe(matrix_.format).bias)));
    const auto of_zero = hn::Set(kBytes, kZeroByteOfB);
    auto most = hn::Zero(kBytes);
    for (std::int64_t group = 0; group < used; ++group) {
      auto least = of_zero;
      for (std::int64_t k = group * step_k_; k < (group + 1) * step_k_; k += kQuad) {
        auto bits = hn::Zero(kBytes);
        for (int i = kQuad - 1; i >= 0; --i) {
          const std::int64_t place = (k + i) * kPanelCols;
          const auto code = hn::LoadU(kBytes, staged + place);
          const auto magnitude = hn::And(code, hn::Set(kBytes, 0x7f));
          const auto byte = hn::IfThenElse(hn::Eq(magnitude, hn::Zero(kBytes)), of_zero,
                                           hn::Sub(of_exponent, decode.field(magnitude)));
          hn::Store(byte, kBytes, exponents + place);
          least = hn::Min(least, byte);
          most = hn::Max(most, magnitude);
          // Above 0x80: negative and no zero.
          const auto negative_bit = hn::IfThenElseZero(hn::Gt(code, hn::Set(kBytes, 0x80)), hn::Set(kBytes, 1));
          bits = hn::Or(hn::Add(bits, bits), negative_bit);
          for (std::int64_t j = 0; j < kHalfCols; j += static_cast<std::int64_t>(hn::Lanes(kFloats)))
            hn::Store(decode.values(staged + place + j), kFloats, values + place + j);
        }
        hn::Store(bits, kBytes, signs + k / kQuad * kPanelCols);
      }
      hn::Store(least, kBytes, largest + group * kPanelCols);
    }
    HWY_ALIGN std::array<std::uint8_t, kHalfCols> magnitudes;
    hn::Store(most, kBytes, magnitudes.data());
    for (std::int64_t j = 0; j < kHalfCols; ++j)
      refused_columns[j] |= magnitudes[static_cast<std::size_t>(j)] > decode.most_code();
  }
#endif

  std::int64_t k_;
  std::int64_t groups_;
  int step_k_;
  T beyond_;
  const CodeMatrix& matrix_;
  hwy::AlignedFreeUniquePtr<T[]> values_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> exponents_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> signs_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> largest_;
  std::vector<std::byte> staged_;
};

// A packed block of K of one chunk of rows. Rows lie `stride` apart: whole vectors, which may reach beyond the block,
// and no power of two.
template <typename L>
class PackedRows {
  using T = typename L::Value;

  // Vectors may read and write so much beyond the last row's end.
  static constexpr std::int64_t kBeyond = kHalfCols + 16;
  static constexpr std::int64_t kAhead = 8;  // rows to fetch before they are needed

 public:
  PackedRows(const CodeMatrix& matrix, std::int64_t rows, std::int64_t padded_k, int step_k)
      : stride(ceil_div(padded_k, 16) * 16 + 16),
        matrix_(matrix),
        groups_(padded_k / step_k),
        step_k_(step_k),
        step_bits_(std::countr_zero(static_cast<unsigned>(step_k))),
        values_(hwy::AllocateAligned<T>(static_cast<std::size_t>(rows * stride + kBeyond))),
        exponents_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * stride + kBeyond))),
        pairs_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * stride / 2 + kBeyond))),
        signs_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * stride / 4 + kBeyond))),
        largest_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * groups_))),
        negative_(static_cast<std::size_t>(groups_)),
        staged_(static_cast<std::size_t>((rows * stride + kBeyond) * describe(matrix.format).storage_bytes)) {}

  // Rows [row, row + rows) of A and elements [first, first + length) of K, taken apart; padded with zeros to whole
  // groups. Raises refused[i] for rows with operands outside the lanes' range.
  void pack(std::int64_t row, std::int64_t rows, std::int64_t first, std::int64_t length, std::uint8_t* refused) {
    const int width = describe(matrix_.format).storage_bytes;
    if (kBytewise<L> || width == 1)
      pack_codes<std::uint8_t>(row, rows, first, length, refused);
    else if constexpr (!kBytewise<L>) {
      if (width == 2)
        pack_codes<std::uint16_t>(row, rows, first, length, refused);
      else
        pack_codes<std::uint32_t>(row, rows, first, length, refused);
    }
  }

  // Of a group of row i of the chunk: its values, those of the next row follow after `stride`,
  [[nodiscard]] const T* values_of(std::int64_t i, std::int64_t group) const {
    return values_.get() + i * stride + group * step_k_;
  }
  // [step_k],
  [[nodiscard]] const std::uint8_t* exponents_of(std::int64_t i, std::int64_t group) const {
    return exponents_.get() + i * stride + group * step_k_;
  }
  // [step_k / 2]: the place of the line of the elements' planes among those of the two,
  [[nodiscard]] const std::uint8_t* pairs_of(std::int64_t i, std::int64_t group) const {
    return pairs_.get() + (i * stride + group * step_k_) / 2;
  }
  // [step_k / 4]: the place of the line of the elements' signs among those of the four,
  [[nodiscard]] const std::uint8_t* signs_of(std::int64_t i, std::int64_t group) const {
    return signs_.get() + (i * stride + group * step_k_) / 4;
  }
  // and where the largest of its exponents is.
  [[nodiscard]] const std::uint8_t* largest_of(std::int64_t i, std::int64_t group) const {
    return largest_.get() + i * groups_ + group;
  }

  std::int64_t stride;

 private:
  template <typename Code>
  HWY_NOINLINE void pack_codes(std::int64_t row, std::int64_t rows, std::int64_t first, std::int64_t length,
                               std::uint8_t* refused) {
    constexpr auto kWidth = static_cast<std::int64_t>(sizeof(Code));
    const std::int64_t padded = round_up(length, step_k_);
    // Whole vectors of rows that lie in one piece are read where they are.
    const std::int64_t vector = kBytewise<L> ? kHalfCols : static_cast<std::int64_t>(hn::Lanes(kWords));
    const bool in_place = !matrix_.transposed && length % std::max<std::int64_t>(vector, step_k_) == 0;
    if (!in_place) {
      std::fill(staged_.begin(), staged_.end(), std::byte{0});
      stage(matrix_, row, rows, first, length, reinterpret_cast<Code*>(staged_.data()), stride, 1);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      if (in_place && r + kAhead < rows) {
        const std::byte* ahead = matrix_.bytes.data() + ((row + r + kAhead) * matrix_.cols + first) * kWidth;
        for (std::int64_t i = 0; i < length * kWidth; i += 64) hwy::Prefetch(ahead + i);
      }
      const std::byte* codes = in_place ? matrix_.bytes.data() + ((row + r) * matrix_.cols + first) * kWidth
                                        : staged_.data() + r * stride * kWidth;
      bool beyond_range = false;
      if constexpr (kBytewise<L>)
        beyond_range = this->take_bytes_apart(r, padded, reinterpret_cast<const std::uint8_t*>(codes));
      else
        beyond_range = take_words_apart<Code>(r, padded, codes);
      place_signs(r, padded);
      place_pairs(r, padded);
      if (beyond_range) refused[r] = 1;
    }
  }

  // Both: whether an operand is outside the lanes' range.
  template <typename Code>
  HWY_INLINE bool take_words_apart(std::int64_t r, std::int64_t padded, const std::byte* codes) {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(kWords));
    const Decoder<L> decode(matrix_.format);
    auto refused = hn::Zero(kWords);
    for (std::int64_t i = 0; i < padded; i += lanes) {
      const std::int64_t place = r * stride + i;
      const Decoded decoded = decode(load_codes<Code>(codes + i * static_cast<std::int64_t>(sizeof(Code))));
      store_decoded<L>(decoded, T{1}, values_.get() + place);
      const auto from_exponent = hn::Sub(decoded.exponent, hn::Set(kWords, 127 - kByteOfA<L>));
      store_low_bytes(hn::IfThenZeroElse(decoded.zero, from_exponent), exponents_.get() + place);
      set_signs(i, lanes, mask_bits(kWords, decoded.negative));
      refused = hn::Or(refused, hn::VecFromMask(kWords, decoded.refused));
    }
    return !hn::AllFalse(kWords, hn::Ne(refused, hn::Zero(kWords)));
  }

#if HWY_TARGET != HWY_SCALAR
  HWY_INLINE bool take_bytes_apart(std::int64_t r, std::int64_t padded, const std::uint8_t* codes) {
    const Fp8Decoder decode(matrix_.format, 1);
    const auto bias = static_cast<std::uint32_t>(describe(matrix_.format).bias);
    const auto of_exponent = hn::Set(kBytes, static_cast<std::uint8_t>(kByteOfA<L> - bias));
    auto most = hn::Zero(kBytes);
    for (std::int64_t i = 0; i < padded; i += kHalfCols) {
      const std::int64_t place = r * stride + i;
      const auto code = hn::LoadU(kBytes, codes + i);
      const auto magnitude = hn::And(code, hn::Set(kBytes, 0x7f));
      const auto byte = hn::Add(of_exponent, decode.field(magnitude));
      hn::StoreU(hn::IfThenZeroElse(hn::Eq(magnitude, hn::Zero(kBytes)), byte), kBytes, exponents_.get() + place);
      most = hn::Max(most, magnitude);
      set_signs(i, kHalfCols, mask_bits(kBytes, hn::Gt(code, hn::Set(kBytes, 0x80))));
      for (std::int64_t j = 0; j < kHalfCols; j += static_cast<std::int64_t>(hn::Lanes(kFloats)))
        hn::StoreU(decode.values(codes + i + j), kFloats, values_.get() + place + j);
    }
    return !hn::AllFalse(kBytes, hn::Gt(most, hn::Set(kBytes, decode.most_code())));
  }
#endif

  // The largest exponent of each group of row r, and for each element the plane that lies as far below it.
  HWY_INLINE void place_pairs(std::int64_t r, std::int64_t padded) {
    constexpr std::int64_t kBlock = 16;
    const std::uint8_t* of_row = exponents_.get() + r * stride;
    std::uint8_t* largest_of_row = largest_.get() + r * groups_;
    std::array<std::uint8_t, kBlock> of_group{};  // spread over the group's elements
    for (std::int64_t k = 0; k < padded; k += kBlock) {
      const std::int64_t within = k & (step_k_ - 1);
      if (within == 0) spread_largest(of_row + k, of_group.data());
      for (std::int64_t i = 0; i < std::min<std::int64_t>(kBlock, padded - k); i += step_k_)
        largest_of_row[(k + i) >> step_bits_] = of_group[static_cast<std::size_t>(i)];
      place_block(of_row + k, of_group.data(), pairs_.get() + (r * stride + k) / 2);
    }
  }

#if HWY_TARGET == HWY_SCALAR
  HWY_INLINE void spread_largest(const std::uint8_t* of_elements, std::uint8_t* spread) const {
    for (std::int64_t i = 0; i < 16; i += step_k_)
      std::fill_n(spread + i, std::min(16, step_k_), *std::max_element(of_elements + i, of_elements + i + step_k_));
  }

  static HWY_INLINE void place_block(const std::uint8_t* of_elements, const std::uint8_t* of_groups,
                                     std::uint8_t* places) {
    constexpr int kLast = kPlanes - 1;
    const auto plane = [&](int i) {
      return of_elements[i] == 0 ? kLast : std::min<int>(of_groups[i] - of_elements[i], kLast);
    };
    for (int i = 0; i < 16; i += 2)
      places[i / 2] = static_cast<std::uint8_t>((plane(i) * static_cast<int>(kPlanes) + plane(i + 1)) * kLineUnits);
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

  static HWY_INLINE void place_block(const std::uint8_t* of_elements, const std::uint8_t* of_groups,
                                     std::uint8_t* places) {
    const hn::FixedTag<std::uint8_t, 16> bytes;
    const hn::FixedTag<std::int16_t, 8> pairs;
    const hn::FixedTag<std::uint8_t, 8> half;
    const auto exponent = hn::LoadU(bytes, of_elements);
    const auto last = hn::Set(bytes, kPlanes - 1);
    const auto below = hn::Min(hn::Sub(hn::LoadU(bytes, of_groups), exponent), last);
    const auto plane = hn::BitCast(pairs, hn::IfThenElse(hn::Eq(exponent, hn::Zero(bytes)), last, below));
    const auto first = hn::And(plane, hn::Set(pairs, 0xff));
    const auto line = hn::Add(hn::Mul(first, hn::Set(pairs, kPlanes)), hn::ShiftRight<8>(plane));
    hn::StoreU(hn::DemoteTo(half, hn::Mul(line, hn::Set(pairs, kLineUnits))), half, places);
  }
#endif

  template <typename D>
  static HWY_INLINE std::uint64_t mask_bits(D d, hn::Mask<D> mask) {
    constexpr std::size_t kBytesWritten = (hn::MaxLanes(d) + 7) / 8;
    std::array<std::uint8_t, 8> bytes;
    (void)hn::StoreMaskBits(d, mask, bytes.data());
    // As many bytes as were written, no more: the load waits for them otherwise.
    std::conditional_t<kBytesWritten == 1, std::uint8_t,
                       std::conditional_t<kBytesWritten == 2, std::uint16_t,
                                          std::conditional_t<kBytesWritten == 4, std::uint32_t, std::uint64_t>>>
        bits = 0;
    std::memcpy(&bits, bytes.data(), sizeof(bits));
    return bits;
  }

  // `count` sign bits from element k on; groups are as long as lanes, or one is a multiple of the other.
  HWY_INLINE void set_signs(std::int64_t k, std::int64_t count, std::uint64_t word) {
    const std::uint32_t group_mask = ~0u >> (32 - step_k_);
    for (std::int64_t i = 0; i < count; i += step_k_) {
      const std::int64_t group = (k + i) >> step_bits_;
      if (group >= groups_) return;
      const std::int64_t within = (k + i) & (step_k_ - 1);
      const std::uint32_t bits = (static_cast<std::uint32_t>(word >> i) & group_mask) << within;
      std::uint32_t& of_group = negative_[static_cast<std::size_t>(group)];
      of_group = within == 0 ? bits : of_group | bits;
    }
  }

  // Four bits of negative_ a byte, as places.
  HWY_INLINE void place_signs(std::int64_t r, std::int64_t padded) {
    std::uint8_t* places = signs_.get() + r * stride / 4;
    for (std::int64_t k = 0; k < padded; k += step_k_) {
      std::uint64_t bits = negative_[static_cast<std::size_t>(k >> step_bits_)];
      bits = (bits | bits << 16) & 0x0000ffff0000ffff;
      bits = (bits | bits << 8) & 0x00ff00ff00ff00ff;
      bits = (bits | bits << 4) & 0x0f0f0f0f0f0f0f0f;
      bits *= kLineUnits;
      std::memcpy(places + k / 4, &bits, sizeof(bits));  // the next group's, or the next row's, are still to come
    }
  }

  const CodeMatrix& matrix_;
  std::int64_t groups_;
  int step_k_;
  int step_bits_;
  hwy::AlignedFreeUniquePtr<T[]> values_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> exponents_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> pairs_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> signs_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> largest_;
  std::vector<std::uint32_t> negative_;  // of the row in hand: bit k is the sign of element k of the group
  std::vector<std::byte> staged_;
};

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target

// Rows of A for the vectorised GEMM, taken apart. Included once for each instruction set.
#if defined(LASTBIT_GEMM_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_ROWS_INL
#undef LASTBIT_GEMM_ROWS_INL
#else
#define LASTBIT_GEMM_ROWS_INL
#endif

#include <hwy/aligned_allocator.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "numerics/gemm_decode-inl.h"
#include "numerics/gemm_packing-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

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
        width_(describe(matrix.format).storage_bytes),
        values_(hwy::AllocateAligned<T>(static_cast<std::size_t>(rows * stride + kBeyond))),
        exponents_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * stride + kBeyond))),
        pairs_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * stride / 2 + kBeyond))),
        signs_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * stride / 4 + kBeyond))),
        largest_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(rows * groups_))) {}

  // Rows [row, row + rows) of A and elements [first, first + length) of K, taken apart; padded with zeros to whole
  // groups. Raises refused[i] for rows with operands outside the lanes' range.
  HWY_NOINLINE void pack(std::int64_t row, std::int64_t rows, std::int64_t first, std::int64_t length,
                         std::uint8_t* refused) {
    with_decoder<L>(matrix_.format, T{1},
                    [&](const auto& decode) { this->take_apart(decode, row, rows, first, length, refused); });
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
  // By value: the compiler must see that no store of bytes changes the decoder.
  template <typename D>
  HWY_INLINE void take_apart(const D decode, std::int64_t row, std::int64_t rows, std::int64_t first,
                             std::int64_t length, std::uint8_t* refused) {
    using Code = typename D::Code;
    constexpr auto kLanes = static_cast<std::int64_t>(hn::MaxLanes(D::kTag));
    const std::int64_t padded = round_up(length, step_k_);
    // Whole vectors of rows that lie in one piece are read where they are.
    const bool in_place = !matrix_.transposed && length % std::max<std::int64_t>(kLanes, step_k_) == 0;
    if (!in_place) {
      staged_.assign(static_cast<std::size_t>((rows * stride + kBeyond) * width_), std::byte{0});
      stage(matrix_, row, rows, first, length, reinterpret_cast<Code*>(staged_.data()), stride, 1);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      if (in_place && r + kAhead < rows) {
        const std::byte* ahead = matrix_.bytes.data() + ((row + r + kAhead) * matrix_.cols + first) * width_;
        for (std::int64_t i = 0; i < length * width_; i += 64) hwy::Prefetch(ahead + i);
      }
      const std::byte* codes = in_place ? matrix_.bytes.data() + ((row + r) * matrix_.cols + first) * width_
                                        : staged_.data() + r * stride * width_;
      if (take_row_apart(decode, r, padded, reinterpret_cast<const Code*>(codes))) refused[r] = 1;
      place_pairs(r, padded);
    }
  }

  // Whether an operand is outside the lanes' range.
  template <typename D>
  HWY_INLINE bool take_row_apart(const D& decode, std::int64_t r, std::int64_t padded, const typename D::Code* codes) {
    using Lane = hn::TFromD<decltype(D::kTag)>;
    constexpr auto kLanes = static_cast<std::int64_t>(hn::MaxLanes(D::kTag));
    const auto bias = static_cast<std::uint32_t>(describe(matrix_.format).bias);
    const auto of_exponent = hn::Set(D::kTag, static_cast<Lane>(kByteOfA<L> - bias));
    T* values = values_.get() + r * stride;
    std::uint8_t* exponents = exponents_.get() + r * stride;
    std::uint8_t* signs = signs_.get() + r * stride / 4;
    auto most = hn::Zero(D::kTag);
    auto least = hn::Set(D::kTag, hwy::LimitsMax<Lane>());
    for (std::int64_t i = 0; i < padded; i += kLanes) {
      const auto code = decode.load(codes + i);
      const auto magnitude = decode.magnitude(code);
      const auto zero = hn::Eq(magnitude, hn::Zero(D::kTag));
      decode.store_bytes(hn::IfThenZeroElse(zero, hn::Add(of_exponent, decode.field(magnitude))), exponents + i);
      most = hn::Max(most, magnitude);
      least = hn::Min(least, hn::Or(magnitude, hn::VecFromMask(D::kTag, zero)));
      place_signs<kLanes>(signs, i, mask_bits(D::kTag, decode.negative(code, magnitude)));
      decode.store_values(codes + i, values + i);
    }
    return !hn::AllFalse(D::kTag, decode.refused(most, least));
  }

  // The largest exponent of each group of row r, and for each element the plane that lies as far below it. Vectors of
  // 32 elements, or 16, reach beyond the row's last group: what follows it is filled in later, or never read.
#if HWY_TARGET == HWY_SCALAR
  HWY_INLINE void place_pairs(std::int64_t r, std::int64_t padded) {
    constexpr int kLast = kPlanes - 1;
    const std::uint8_t* of_row = exponents_.get() + r * stride;
    for (std::int64_t k = 0; k < padded; k += step_k_) {
      const std::uint8_t largest = *std::max_element(of_row + k, of_row + k + step_k_);
      const auto plane = [&](std::int64_t i) {
        return of_row[i] == 0 ? kLast : std::min<int>(largest - of_row[i], kLast);
      };
      for (std::int64_t i = k; i < k + step_k_; i += 2)
        pairs_[(r * stride + i) / 2] =
            static_cast<std::uint8_t>((plane(i) * static_cast<int>(kPlanes) + plane(i + 1)) * kLineUnits);
      largest_[r * groups_ + (k >> step_bits_)] = largest;
    }
  }
#else
  HWY_INLINE void place_pairs(std::int64_t r, std::int64_t padded) {
    const std::uint8_t* of_row = exponents_.get() + r * stride;
    std::uint8_t* places = pairs_.get() + r * stride / 2;
    std::uint8_t* largest_of_row = largest_.get() + r * groups_;
    if (step_k_ == kBlock) {
      for (std::int64_t k = 0; k < padded; k += kBlock) {
        const auto exponents = hn::LoadU(kBlockBytes, of_row + k);
        const auto largest = spread_largest(exponents);
        largest_of_row[k / kBlock] = hn::GetLane(largest);
        place_block(exponents, largest, places + k / 2);
      }
      return;
    }
    HWY_ALIGN std::array<std::uint8_t, kBlock> spread;
    for (std::int64_t k = 0; k < padded; k += kBlock) {
      const auto exponents = hn::LoadU(kBlockBytes, of_row + k);
      auto largest = spread_largest(exponents);
      if (step_k_ > kBlock) {
        largest = hn::Max(largest, spread_largest(hn::LoadU(kBlockBytes, of_row + (k ^ kBlock))));
      }
      hn::Store(largest, kBlockBytes, spread.data());
      for (std::int64_t i = 0; i < std::min<std::int64_t>(kBlock, padded - k); i += step_k_)
        largest_of_row[(k + i) >> step_bits_] = spread[static_cast<std::size_t>(i)];
      place_block(exponents, largest, places + k / 2);
    }
  }

  static constexpr hn::CappedTag<std::uint8_t, 32> kBlockBytes{};
  static constexpr auto kBlock = static_cast<std::int64_t>(hn::MaxLanes(hn::CappedTag<std::uint8_t, 32>()));
  using BlockBytes = hn::Vec<hn::CappedTag<std::uint8_t, 32>>;

  // Each element becomes the most of its group, or of the block where that is less.
  HWY_INLINE BlockBytes spread_largest(BlockBytes most) const {
    const hn::Repartition<std::uint16_t, decltype(kBlockBytes)> halves;
    const hn::Repartition<std::uint32_t, decltype(kBlockBytes)> words;
    const auto max_with = [&](auto x, auto y) { return hn::Max(x, hn::BitCast(kBlockBytes, y)); };
    if constexpr (kBlock == 32)
      if (step_k_ == 32) most = hn::Max(most, hn::SwapAdjacentBlocks(most));
    if (step_k_ >= 16) most = max_with(most, hn::Shuffle1032(hn::BitCast(words, most)));
    if (step_k_ >= 8) most = max_with(most, hn::Shuffle2301(hn::BitCast(words, most)));
    most = max_with(most, hn::RotateRight<16>(hn::BitCast(words, most)));
    const auto pairs = hn::BitCast(halves, most);
    return max_with(most, hn::Or(hn::ShiftLeft<8>(pairs), hn::ShiftRight<8>(pairs)));
  }

  static HWY_INLINE void place_block(BlockBytes exponents, BlockBytes of_groups, std::uint8_t* places) {
    const hn::Repartition<std::uint16_t, decltype(kBlockBytes)> pairs;
    const hn::Repartition<std::int16_t, decltype(kBlockBytes)> signed_pairs;
    const hn::Rebind<std::uint8_t, decltype(pairs)> half;
    const auto last = hn::Set(kBlockBytes, kPlanes - 1);
    const auto below = hn::Min(hn::Sub(of_groups, exponents), last);
    const auto zero = hn::Eq(exponents, hn::Zero(kBlockBytes));
    const auto plane = hn::BitCast(pairs, hn::IfThenElse(zero, last, below));
    const auto first = hn::And(plane, hn::Set(pairs, 0xff));
    const auto line = hn::Add(hn::Mul(first, hn::Set(pairs, kPlanes * kLineUnits)),
                              hn::Mul(hn::ShiftRight<8>(plane), hn::Set(pairs, kLineUnits)));
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(signed_pairs, line)), half, places);
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

  // kCount sign bits of elements from k on, four a byte, as places.
  template <std::int64_t kCount>
  static HWY_INLINE void place_signs(std::uint8_t* places, std::int64_t k, std::uint64_t word) {
    if constexpr (kCount < 4) {
      const auto place = static_cast<std::uint8_t>(word << (k % 4) * kLineUnits);
      places[k / 4] = k % 4 == 0 ? place : static_cast<std::uint8_t>(places[k / 4] | place);
    } else {
      constexpr std::int64_t kAtOnce = std::min<std::int64_t>(kCount, 32);
      for (std::int64_t i = 0; i < kCount; i += kAtOnce) {
        std::uint64_t bits = word >> i & 0xffffffff;
        bits = (bits | bits << 16) & 0x0000ffff0000ffff;
        bits = (bits | bits << 8) & 0x00ff00ff00ff00ff;
        bits = (bits | bits << 4) & 0x0f0f0f0f0f0f0f0f;
        bits *= kLineUnits;
        std::memcpy(places + (k + i) / 4, &bits, kAtOnce / 4);
      }
    }
  }

  const CodeMatrix& matrix_;
  std::int64_t groups_;
  int step_k_;
  int step_bits_;
  std::int64_t width_;
  hwy::AlignedFreeUniquePtr<T[]> values_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> exponents_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> pairs_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> signs_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> largest_;
  std::vector<std::byte> staged_;  // where rows are not read in place
};

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target

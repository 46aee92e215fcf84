// Columns of B for the vectorised GEMM, in the order in which its inner loop reads them. Included once for each
// instruction set.
#if defined(LASTBIT_GEMM_COLUMNS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_COLUMNS_INL
#undef LASTBIT_GEMM_COLUMNS_INL
#else
#define LASTBIT_GEMM_COLUMNS_INL
#endif

#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "numerics/gemm_decode-inl.h"
#include "numerics/gemm_packing-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

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
  [[nodiscard]] HWY_INLINE hn::Vec<decltype(kBytes)> operator()(hn::Vec<decltype(kBytes)> bytes) const {
#if HWY_TARGET != HWY_SCALAR
    if constexpr (kBlocks > 1) {
      const auto across = hn::SetTableIndices(kWords, kAcross.data());
      const auto blocks = hn::TableLookupBytes(bytes, hn::LoadDup128(kBytes, kWithin.data()));
      bytes = hn::BitCast(kBytes, hn::TableLookupLanes(hn::BitCast(kWords, blocks), across));
    }
#endif
    return bytes;
  }

  // `lines` lines of kPanelCols bytes.
  HWY_INLINE void apply(std::uint8_t* bytes, std::int64_t lines) const {
    if constexpr (kBlocks > 1)
      for (std::uint8_t* end = bytes + lines * kPanelCols; bytes != end; bytes += kHalfCols)
        hn::Store((*this)(hn::Load(kBytes, bytes)), kBytes, bytes);
  }

#if HWY_TARGET != HWY_SCALAR
 private:
  static constexpr std::size_t kUnit = 16 / sizeof(T);

  HWY_ALIGN static constexpr std::array<std::uint8_t, 16> kWithin = [] {
    constexpr std::size_t kUnits = 16 / kUnit / kBlocks;  // of a block that go to the same one
    std::array<std::uint8_t, 16> within{};
    for (std::size_t b = 0; b < kBlocks; ++b)
      for (std::size_t v = 0; v < kUnits; ++v)
        for (std::size_t i = 0; i < kUnit; ++i)
          within[(b * kUnits + v) * kUnit + i] = static_cast<std::uint8_t>((v * kBlocks + b) * kUnit + i);
    return within;
  }();
  HWY_ALIGN static constexpr std::array<std::int32_t, 4 * kBlocks> kAcross = [] {
    constexpr std::size_t kGroupWords = 4 / kBlocks;  // in each block, what goes to one
    std::array<std::int32_t, 4 * kBlocks> across{};
    for (std::size_t b = 0; b < kBlocks; ++b)
      for (std::size_t from = 0; from < kBlocks; ++from)
        for (std::size_t i = 0; i < kGroupWords; ++i)
          across[b * 4 + from * kGroupWords + i] = static_cast<std::int32_t>(from * 4 + b * kGroupWords + i);
    return across;
  }();
#endif
};

// A block of K of `panels` times kPanelCols columns, as codes; those of one group of one panel at a time are taken
// apart. Taken apart as a whole they would fill six times as much memory.
template <typename L>
class PackedPanels {
  using T = typename L::Value;

 public:
  // `beyond`: the factor 1 + 2^-t of b.
  PackedPanels(const CodeMatrix& matrix, std::int64_t panels, std::int64_t padded_k, int step_k, T beyond)
      : k_(padded_k),
        step_k_(step_k),
        beyond_(beyond),
        matrix_(matrix),
        width_(describe(matrix.format).storage_bytes),
        codes_(hwy::AllocateAligned<std::byte>(static_cast<std::size_t>(panels * k_ * kPanelCols * width_))),
        values_(hwy::AllocateAligned<T>(static_cast<std::size_t>(step_k * kPanelCols))),
        exponents_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(step_k * kPanelCols))),
        signs_(hwy::AllocateAligned<std::uint8_t>(static_cast<std::size_t>(step_k / 4 * kPanelCols))) {}

  // Columns [col, col + cols) of D and elements [first, first + length) of K: transposed to [k, columns] and padded
  // with zeros to whole groups.
  void pack(std::int64_t panel, std::int64_t col, std::int64_t cols, std::int64_t first, std::int64_t length) {
    if (width_ == 1)
      pack_codes<std::uint8_t>(panel, col, cols, first, length);
    else if (width_ == 2)
      pack_codes<std::uint16_t>(panel, col, cols, first, length);
    else
      pack_codes<std::uint32_t>(panel, col, cols, first, length);
  }

  // Takes a group apart, for the functions below. Raises refused[j] for columns of the panel with operands outside the
  // lanes' range. To be called in round-to-nearest mode.
  HWY_NOINLINE void open(std::int64_t panel, std::int64_t group, std::uint8_t* refused) {
    const std::byte* codes = codes_.get() + (panel * k_ + group * step_k_) * kPanelCols * width_;
    with_decoder<L>(matrix_.format, beyond_, [&](const auto& decode) { this->take_apart(decode, codes, refused); });
  }

  // [step_k, kPanelCols], times 1 + 2^-t.
  [[nodiscard]] const T* values() const { return values_.get(); }
  // The rest in lane order: [step_k, kPanelCols],
  [[nodiscard]] const std::uint8_t* exponents() const { return exponents_.get(); }
  // [step_k / 4, kPanelCols]: bit i is the sign of element 4 q + i,
  [[nodiscard]] const std::uint8_t* signs() const { return signs_.get(); }
  // [kPanelCols]: the least of exponents().
  [[nodiscard]] const std::uint8_t* largest() const { return largest_.data(); }

 private:
  template <typename Code>
  HWY_NOINLINE void pack_codes(std::int64_t panel, std::int64_t col, std::int64_t cols, std::int64_t first,
                               std::int64_t length) {
    Code* codes = reinterpret_cast<Code*>(codes_.get()) + panel * k_ * kPanelCols;
    std::fill(codes + length * kPanelCols, codes + round_up(length, step_k_) * kPanelCols, Code{0});
    if (cols < kPanelCols)
      for (std::int64_t i = 0; i < length; ++i)
        std::fill(codes + i * kPanelCols + cols, codes + (i + 1) * kPanelCols, code_of_one<Code>(matrix_.format));
    stage(matrix_, col, cols, first, length, codes, 1, kPanelCols);
  }

  // By value, and pointers in variables: the compiler must see that no store of bytes changes them.
  template <typename D>
  HWY_INLINE void take_apart(const D decode, const std::byte* bytes, std::uint8_t* refused) {
    using Lane = hn::TFromD<decltype(D::kTag)>;
    constexpr int kQuad = 4;
    constexpr auto kLanes = static_cast<std::int64_t>(hn::MaxLanes(D::kTag));
    // Lanes of bytes are put in order as codes, others in the end.
    constexpr bool kOrderFirst = sizeof(Lane) == 1;
    const auto* codes = reinterpret_cast<const typename D::Code*>(bytes);
    const auto bias = static_cast<std::uint32_t>(describe(matrix_.format).bias);
    const auto of_exponent = hn::Set(D::kTag, static_cast<Lane>(kByteOfB<L> + bias));
    const auto of_zero = hn::Set(D::kTag, static_cast<Lane>(kZeroByteOfB));
    const LaneOrder<L> order;
    const std::int64_t step_k = step_k_;
    T* values = values_.get();
    std::uint8_t* exponents = exponents_.get();
    std::uint8_t* signs = signs_.get();
    for (std::int64_t j = 0; j < kPanelCols; j += kLanes) {
      auto least = of_zero;
      auto most_magnitude = hn::Zero(D::kTag);
      auto least_magnitude = hn::Set(D::kTag, hwy::LimitsMax<Lane>());
      for (std::int64_t k = 0; k < step_k; k += kQuad) {
        auto bits = hn::Zero(D::kTag);
        for (int i = kQuad - 1; i >= 0; --i) {
          const std::int64_t place = (k + i) * kPanelCols + j;
          auto code = decode.load(codes + place);
          if constexpr (kOrderFirst) code = order(code);
          const auto magnitude = decode.magnitude(code);
          const auto zero = hn::Eq(magnitude, hn::Zero(D::kTag));
          const auto byte = hn::IfThenElse(zero, of_zero, hn::Sub(of_exponent, decode.field(magnitude)));
          decode.store_bytes(byte, exponents + place);
          least = hn::Min(least, byte);
          most_magnitude = hn::Max(most_magnitude, magnitude);
          least_magnitude = hn::Min(least_magnitude, hn::Or(magnitude, hn::VecFromMask(D::kTag, zero)));
          const auto negative = hn::IfThenElseZero(decode.negative(code, magnitude), hn::Set(D::kTag, 1));
          bits = hn::Or(hn::Add(bits, bits), negative);
          decode.store_values(codes + place, values + place);
        }
        decode.store_bytes(bits, signs + k / kQuad * kPanelCols + j);
      }
      decode.store_bytes(least, largest_.data() + j);
      if (HWY_UNLIKELY(!hn::AllFalse(D::kTag, decode.refused(most_magnitude, least_magnitude))))
        note_refused(decode, codes + j, refused + j);
    }
    if constexpr (!kOrderFirst) {
      order.apply(exponents, step_k);
      order.apply(signs, step_k / kQuad);
      order.apply(largest_.data(), 1);
    }
  }

  template <typename D>
  HWY_NOINLINE void note_refused(const D& decode, const typename D::Code* codes, std::uint8_t* refused) const {
    using Lane = hn::TFromD<decltype(D::kTag)>;
    constexpr auto kLanes = hn::MaxLanes(D::kTag);
    auto most = hn::Zero(D::kTag);
    auto least = hn::Set(D::kTag, hwy::LimitsMax<Lane>());
    for (std::int64_t k = 0; k < step_k_; ++k, codes += kPanelCols) {
      const auto magnitude = decode.magnitude(decode.load(codes));
      most = hn::Max(most, magnitude);
      const auto zero = hn::Eq(magnitude, hn::Zero(D::kTag));
      least = hn::Min(least, hn::Or(magnitude, hn::VecFromMask(D::kTag, zero)));
    }
    HWY_ALIGN std::array<Lane, kLanes> flags;
    hn::Store(hn::VecFromMask(D::kTag, decode.refused(most, least)), D::kTag, flags.data());
    for (std::size_t i = 0; i < kLanes; ++i) refused[i] |= flags[i] != 0;
  }

  std::int64_t k_;
  int step_k_;
  T beyond_;
  const CodeMatrix& matrix_;
  std::int64_t width_;
  hwy::AlignedFreeUniquePtr<std::byte[]> codes_;  // [panels, k, kPanelCols]
  // Of the open group.
  hwy::AlignedFreeUniquePtr<T[]> values_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> exponents_;
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> signs_;
  HWY_ALIGN std::array<std::uint8_t, kPanelCols> largest_;
};

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target

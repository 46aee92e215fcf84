// Codes taken apart in vectors, for the vectorised GEMM. Included once for each instruction set.
#if defined(LASTBIT_GEMM_DECODE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_DECODE_INL
#undef LASTBIT_GEMM_DECODE_INL
#else
#define LASTBIT_GEMM_DECODE_INL
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>

#include "numerics/gemm_lanes.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<std::uint8_t> kBytes;
const hn::ScalableTag<std::uint32_t> kWords;
const hn::ScalableTag<float> kFloats;
constexpr std::int64_t kHalfCols = static_cast<std::int64_t>(hn::MaxLanes(kBytes));
constexpr std::int64_t kPanelCols = 2 * kHalfCols;

// Whether codes are taken apart as bytes: the 8-bit formats of the float lanes.
template <typename L>
constexpr bool kBytewise = HWY_TARGET != HWY_SCALAR&& std::is_same_v<L, FloatLanes>;

// Values times `factor`, and z for zeros: rounded to nearest, z is lost in anything else.
template <typename L>
HWY_INLINE void store_times(hn::Vec<decltype(kFloats)> v, typename L::Value factor, typename L::Value* to) {
  if constexpr (sizeof(*to) == sizeof(float)) {
    hn::StoreU(hn::MulAdd(v, hn::Set(kFloats, factor), hn::Set(kFloats, L::kZero)), kFloats, to);
  } else {
    const hn::ScalableTag<double> doubles;
    const auto times = hn::Set(doubles, factor);
    const auto zero = hn::Set(doubles, L::kZero);
#if HWY_TARGET == HWY_SCALAR
    hn::StoreU(hn::MulAdd(hn::PromoteTo(doubles, v), times, zero), doubles, to);
#else
    const hn::Rebind<float, decltype(doubles)> half;
    hn::StoreU(hn::MulAdd(hn::PromoteTo(doubles, hn::LowerHalf(half, v)), times, zero), doubles, to);
    hn::StoreU(hn::MulAdd(hn::PromoteTo(doubles, hn::UpperHalf(half, v)), times, zero), doubles,
               to + hn::Lanes(doubles));
#endif
  }
}

#if HWY_TARGET != HWY_SCALAR
// 8-bit codes with the sign above, shifted to the top of 16 bits: widened with their sign, they are in place but for
// its copies.
template <typename D>
HWY_INLINE hn::Vec<D> widened_codes(D words, const std::uint8_t* codes, int shift) {
  const hn::RebindToSigned<D> signed_words;
  const hn::Rebind<std::int8_t, decltype(signed_words)> bytes;
  const auto code = hn::PromoteTo(signed_words, hn::LoadU(bytes, reinterpret_cast<const std::int8_t*>(codes)));
  const auto mask = hn::Set(words, static_cast<std::uint16_t>(0x8000 | (0x7f << shift)));
  return hn::And(hn::BitCast(words, hn::ShiftLeftSame(code, shift)), mask);
}
#endif

// A decoder takes vectors of codes of one format apart. A code's parts are lanes as wide as the decoder computes in;
// `magnitude` is a code without its sign.
//   load(codes)             a vector of codes, of any alignment
//   magnitude(code), field(magnitude), negative(code, magnitude): the last a mask, never of a zero
//   refused(most, least)    where magnitudes from `least` to `most`, zeros left out, leave the lanes' range
//   store_values(codes, to) values times the decoder's factor; z for zeros
//   store_bytes(v, to)      the low byte of each lane

// The largest magnitude in the lanes' range, and the least but for zero.
template <typename L>
struct MagnitudeRange {
  explicit MagnitudeRange(const FormatDescriptor& d)
      : most(d.max_finite_code()),
        least(L::kLeastExponent + d.bias <= 1
                  ? 1
                  : static_cast<std::uint32_t>(L::kLeastExponent + d.bias) << d.fraction_bits) {
    const int most_field = L::kMostExponent + d.bias;
    if (most_field < (1 << d.exponent_bits) - 1)
      most = std::min(most, (static_cast<std::uint32_t>(most_field + 1) << d.fraction_bits) - 1);
  }

  std::uint32_t most;
  std::uint32_t least;
};

// Any format, in lanes of 32 bits.
template <typename L, typename CodeType>
class WordDecoder {
  using T = typename L::Value;

 public:
  using Code = CodeType;
  static constexpr hn::ScalableTag<std::uint32_t> kTag{};
  using V = hn::Vec<hn::ScalableTag<std::uint32_t>>;
  using M = hn::Mask<hn::ScalableTag<std::uint32_t>>;

  WordDecoder(const FormatDescriptor& d, T factor) : range_(d), factor_(factor) {
    shift_ = d.code_shift;
    fraction_bits_ = d.fraction_bits;
    sign_ = d.sign_code();
    const auto bias = static_cast<std::uint32_t>(d.bias);
    normal_ = (127 - bias) << 23;
    subnormal_ = (128 - bias) << 23;
  }

  [[nodiscard]] HWY_INLINE V load(const Code* codes) const {
#if HWY_TARGET == HWY_SCALAR
    return hn::ShiftRightSame(hn::Set(kTag, *codes), shift_);
#else
    const hn::Rebind<Code, decltype(kTag)> narrow;
    if constexpr (sizeof(Code) == 4)
      return hn::ShiftRightSame(hn::LoadU(narrow, codes), shift_);
    else
      return hn::ShiftRightSame(hn::PromoteTo(kTag, hn::LoadU(narrow, codes)), shift_);
#endif
  }
  [[nodiscard]] HWY_INLINE V magnitude(V code) const { return hn::And(code, hn::Set(kTag, sign_ - 1)); }
  [[nodiscard]] HWY_INLINE V field(V magnitude) const {
    return hn::Max(hn::ShiftRightSame(magnitude, fraction_bits_), hn::Set(kTag, 1));
  }
  [[nodiscard]] HWY_INLINE M negative(V code, V magnitude) const {
    return hn::AndNot(hn::Eq(magnitude, hn::Zero(kTag)), hn::Ne(hn::And(code, hn::Set(kTag, sign_)), hn::Zero(kTag)));
  }
  [[nodiscard]] HWY_INLINE M refused(V most, V least) const {
    return hn::Or(hn::Gt(most, hn::Set(kTag, range_.most)), hn::Lt(least, hn::Set(kTag, range_.least)));
  }

  HWY_INLINE void store_values(const Code* codes, T* to) const {
    const auto code = load(codes);
    const auto magnitude = this->magnitude(code);
    const auto in_place = hn::ShiftLeftSame(magnitude, 23 - fraction_bits_);
    const auto normal = hn::Add(in_place, hn::Set(kTag, normal_));
    // m 2^(min - f), as the difference of 2^min (1 + m 2^-f) and 2^min: no subnormal FP32 number is made.
    const auto base = hn::Set(kTag, subnormal_);
    const auto difference = hn::Sub(hn::BitCast(kFloats, hn::Add(in_place, base)), hn::BitCast(kFloats, base));
    const auto is_subnormal = hn::Eq(hn::ShiftRightSame(magnitude, fraction_bits_), hn::Zero(kTag));
    const auto value = hn::IfThenElse(is_subnormal, hn::BitCast(kTag, difference), normal);
    const auto sign = hn::ShiftLeftSame(hn::And(code, hn::Set(kTag, sign_)), 31 - std::countr_zero(sign_));
    store_times<L>(hn::BitCast(kFloats, hn::Or(value, sign)), factor_, to);
  }

  HWY_INLINE void store_bytes(V v, std::uint8_t* to) const {
    const hn::Rebind<std::uint8_t, decltype(kTag)> bytes;
    hn::StoreU(hn::U8FromU32(hn::And(v, hn::Set(kTag, 255))), bytes, to);
  }

 private:
  MagnitudeRange<L> range_;
  T factor_;
  int shift_;
  int fraction_bits_;
  std::uint32_t sign_;
  std::uint32_t normal_;
  std::uint32_t subnormal_;
};

#if HWY_TARGET != HWY_SCALAR
// FP16, BF16 and, as FP16 whose bits lie in the same order, E4M3 and E5M2, in lanes of 16 bits.
template <typename L, typename CodeType>
class HalfDecoder {
  using T = typename L::Value;

 public:
  using Code = CodeType;
  static constexpr hn::ScalableTag<std::uint16_t> kTag{};
  using V = hn::Vec<hn::ScalableTag<std::uint16_t>>;
  using M = hn::Mask<hn::ScalableTag<std::uint16_t>>;

  static bool takes(const FormatDescriptor& d) {
    return d.format == Format::kF16 || d.format == Format::kBF16 || d.format == Format::kE4M3 ||
           d.format == Format::kE5M2;
  }

  HalfDecoder(const FormatDescriptor& d, T factor) : range_(d), of_bf16_(d.format == Format::kBF16) {
    widened_ = of_bf16_ ? 0 : 10 - d.fraction_bits;
    fraction_bits_ = of_bf16_ ? d.fraction_bits : 10;
    factor_ = of_bf16_ ? factor : std::ldexp(factor, 15 - d.bias);  // FP16's bias is 15
    range_.most <<= widened_;
    range_.least <<= widened_;
  }

  [[nodiscard]] HWY_INLINE V load(const Code* codes) const {
    if constexpr (sizeof(Code) == 2)
      return hn::LoadU(kTag, codes);
    else
      return widened_codes(kTag, codes, widened_);
  }
  [[nodiscard]] HWY_INLINE V magnitude(V code) const { return hn::And(code, hn::Set(kTag, 0x7fff)); }
  [[nodiscard]] HWY_INLINE V field(V magnitude) const {
    return hn::Max(hn::ShiftRightSame(magnitude, fraction_bits_), hn::Set(kTag, 1));
  }
  [[nodiscard]] HWY_INLINE M negative(V code, V /*magnitude*/) const { return hn::Gt(code, hn::Set(kTag, 0x8000)); }
  [[nodiscard]] HWY_INLINE M refused(V most, V least) const {
    return hn::Or(hn::Gt(most, hn::Set(kTag, static_cast<std::uint16_t>(range_.most))),
                  hn::Lt(least, hn::Set(kTag, static_cast<std::uint16_t>(range_.least))));
  }

  HWY_INLINE void store_values(const Code* codes, T* to) const {
    const auto code = load(codes);
    const hn::Half<decltype(kTag)> half;
    store_half(hn::LowerHalf(half, code), to);
    store_half(hn::UpperHalf(half, code), to + hn::Lanes(half));
  }

  HWY_INLINE void store_bytes(V v, std::uint8_t* to) const {
    const hn::Rebind<std::uint8_t, decltype(kTag)> bytes;
    hn::StoreU(hn::TruncateTo(bytes, v), bytes, to);
  }

 private:
  HWY_INLINE void store_half(hn::Vec<hn::Half<hn::ScalableTag<std::uint16_t>>> code, T* to) const {
    const hn::Rebind<hwy::float16_t, decltype(kFloats)> halves;
    if (of_bf16_)
      store_times<L>(hn::BitCast(kFloats, hn::ShiftLeft<16>(hn::PromoteTo(kWords, code))), factor_, to);
    else
      store_times<L>(hn::PromoteTo(kFloats, hn::BitCast(halves, code)), factor_, to);
  }

  MagnitudeRange<L> range_;
  bool of_bf16_;
  int widened_;  // by so many bits
  int fraction_bits_;
  T factor_;
};

// E4M3 and E5M2, in lanes of bytes. Their values are made by way of FP16, too.
class ByteDecoder {
 public:
  using Code = std::uint8_t;
  static constexpr hn::ScalableTag<std::uint8_t> kTag{};
  using V = hn::Vec<hn::ScalableTag<std::uint8_t>>;
  using M = hn::Mask<hn::ScalableTag<std::uint8_t>>;

  ByteDecoder(const FormatDescriptor& d, float factor) {
    fraction_bits_ = d.fraction_bits;
    most_ = static_cast<std::uint8_t>(d.max_finite_code());
    factor_ = std::ldexp(factor, 15 - d.bias);
  }

  [[nodiscard]] HWY_INLINE V load(const Code* codes) const { return hn::LoadU(kTag, codes); }
  [[nodiscard]] HWY_INLINE V magnitude(V code) const { return hn::And(code, hn::Set(kTag, 0x7f)); }
  [[nodiscard]] HWY_INLINE V field(V magnitude) const {
    return hn::Max(hn::ShiftRightSame(magnitude, fraction_bits_), hn::Set(kTag, 1));
  }
  [[nodiscard]] HWY_INLINE M negative(V code, V /*magnitude*/) const { return hn::Gt(code, hn::Set(kTag, 0x80)); }
  // Even the least subnormal number is in range.
  [[nodiscard]] HWY_INLINE M refused(V most, V /*least*/) const { return hn::Gt(most, hn::Set(kTag, most_)); }

  HWY_INLINE void store_values(const Code* codes, float* to) const {
    const hn::ScalableTag<std::uint16_t> words;
    const hn::Half<decltype(words)> half;
    const hn::Rebind<hwy::float16_t, decltype(kFloats)> halves;
    for (std::int64_t i = 0; i < kHalfCols; i += kHalfCols / 2) {
      const auto code = widened_codes(words, codes + i, 10 - fraction_bits_);
      store_times<FloatLanes>(hn::PromoteTo(kFloats, hn::BitCast(halves, hn::LowerHalf(half, code))), factor_, to + i);
      store_times<FloatLanes>(hn::PromoteTo(kFloats, hn::BitCast(halves, hn::UpperHalf(half, code))), factor_,
                              to + i + kHalfCols / 4);
    }
  }

  HWY_INLINE void store_bytes(V v, std::uint8_t* to) const { hn::StoreU(v, kTag, to); }

 private:
  int fraction_bits_;
  std::uint8_t most_;
  float factor_;
};
#endif

// Calls f with a decoder of `format` for lanes L, whose values are times `factor`.
template <typename L, typename F>
HWY_INLINE void with_decoder(Format format, typename L::Value factor, const F& f) {
  const FormatDescriptor& d = describe(format);
#if HWY_TARGET != HWY_SCALAR
  if constexpr (kBytewise<L>) {
    f(ByteDecoder(d, factor));
    return;
  } else if (HalfDecoder<L, std::uint16_t>::takes(d)) {
    if (d.storage_bytes == 1)
      f(HalfDecoder<L, std::uint8_t>(d, factor));
    else
      f(HalfDecoder<L, std::uint16_t>(d, factor));
    return;
  }
#endif
  if constexpr (!kBytewise<L>) {
    if (d.storage_bytes == 1)
      f(WordDecoder<L, std::uint8_t>(d, factor));
    else if (d.storage_bytes == 2)
      f(WordDecoder<L, std::uint16_t>(d, factor));
    else
      f(WordDecoder<L, std::uint32_t>(d, factor));
  }
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target

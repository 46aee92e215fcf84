// Codes taken apart in vectors, for the vectorised GEMM. Included once for each instruction set.
#if defined(LASTBIT_GEMM_DECODE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef LASTBIT_GEMM_DECODE_INL
#undef LASTBIT_GEMM_DECODE_INL
#else
#define LASTBIT_GEMM_DECODE_INL
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "numerics/gemm_lanes.h"

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<std::uint8_t> kBytes;
const hn::ScalableTag<std::uint32_t> kWords;
const hn::ScalableTag<float> kFloats;
constexpr std::int64_t kHalfCols = static_cast<std::int64_t>(hn::MaxLanes(kBytes));
constexpr std::int64_t kPanelCols = 2 * kHalfCols;

// Codes taken apart, a lane each.
struct Decoded {
  hn::Vec<decltype(kFloats)> value;    // 0 for zeros
  hn::Vec<decltype(kWords)> exponent;  // biased by 127: the exponent field in FP32 of 2^e
  hn::Mask<decltype(kWords)> zero;
  hn::Mask<decltype(kWords)> negative;  // never of a zero
  hn::Mask<decltype(kWords)> refused;
};

// Takes codes of one format apart.
template <typename L>
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
    least_code_ = (L::kLeastExponent + d.bias <= 1)
                      ? 1
                      : static_cast<std::uint32_t>(L::kLeastExponent + d.bias) << d.fraction_bits;
    most_code_ = d.max_finite_code();
    const int most_field = L::kMostExponent + d.bias;
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

// `value` for packing: z where it is a zero. FP32 holds z of float lanes; doubles replace theirs afterwards.
template <typename L>
HWY_INLINE void store_decoded(const Decoded& decoded, typename L::Value factor, typename L::Value* to) {
  if constexpr (sizeof(*to) == sizeof(float)) {
    const auto tiny = hn::Set(kFloats, L::kZero);
    store_values(hn::IfThenElse(hn::RebindMask(kFloats, decoded.zero), tiny, decoded.value), factor, to);
  } else {
    store_values(decoded.value, factor, to);
    if (hn::AllFalse(kWords, decoded.zero)) return;
    for (std::size_t i = 0; i < hn::Lanes(kFloats); ++i)
      if (to[i] == 0) to[i] = factor * L::kZero;
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

#if HWY_TARGET != HWY_SCALAR
// Takes vectors of E4M3 or E5M2 codes apart.
class Fp8Decoder {
 public:
  // `factor`: of the values.
  Fp8Decoder(Format format, float factor) {
    const FormatDescriptor& d = describe(format);
    fraction_bits_ = d.fraction_bits;
    to_half_ = 10 - d.fraction_bits;
    most_code_ = static_cast<std::uint8_t>(d.max_finite_code());
    factor_ = std::ldexp(factor, 15 - d.bias);  // FP16's bias is 15
  }

  // max(exponent field, 1) of magnitudes.
  [[nodiscard]] HWY_INLINE hn::Vec<decltype(kBytes)> field(hn::Vec<decltype(kBytes)> magnitude) const {
    return hn::Max(hn::ShiftRightSame(magnitude, fraction_bits_), hn::Set(kBytes, 1));
  }

  // The values of as many codes as there are float lanes, z for zeros. As FP16 their bits lie in the same order: that
  // conversion knows subnormal numbers.
  [[nodiscard]] HWY_INLINE hn::Vec<decltype(kFloats)> values(const std::uint8_t* codes) const {
    const hn::Rebind<std::uint8_t, decltype(kFloats)> bytes;
    const hn::Rebind<std::uint16_t, decltype(kFloats)> words;
    const hn::Rebind<hwy::float16_t, decltype(kFloats)> halves;
    const auto code = hn::PromoteTo(words, hn::LoadU(bytes, codes));
    const auto sign = hn::ShiftLeft<8>(hn::And(code, hn::Set(words, 0x80)));
    const auto half = hn::Or(sign, hn::ShiftLeftSame(hn::And(code, hn::Set(words, 0x7f)), to_half_));
    // Rounded to nearest, z is lost in anything but a zero.
    return hn::MulAdd(hn::PromoteTo(kFloats, hn::BitCast(halves, half)), hn::Set(kFloats, factor_),
                      hn::Set(kFloats, FloatLanes::kZero));
  }

  [[nodiscard]] std::uint8_t most_code() const { return most_code_; }

 private:
  int fraction_bits_;
  int to_half_;
  std::uint8_t most_code_;
  float factor_;
};
#endif

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target

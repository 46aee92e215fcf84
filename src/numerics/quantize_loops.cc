#include "numerics/quantize_loops.h"

#include <algorithm>
#include <bit>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "numerics/quantize_loops.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Words = hn::RebindToUnsigned<Floats>;

// FP32 to codes of an 8-bit format, to nearest even, saturating.
class Encoder {
 public:
  explicit Encoder(Format format) {
    const FormatDescriptor& d = describe(format);
    const Words words;
    const Floats floats;
    dropped_bits_ = 23 - d.fraction_bits;
    largest_ = hn::Set(floats, decode(d.max_finite_code(), format));
    least_normal_ = hn::Set(floats, decode(1u << d.fraction_bits, format));
    rebias_ = hn::Set(words, static_cast<std::uint32_t>(127 - d.bias) << d.fraction_bits);
    below_half_ = hn::Set(words, (1u << (dropped_bits_ - 1)) - 1);
    // Its last place is the format's smallest number: adding it rounds to a multiple of that.
    magic_ = hn::Set(floats, decode(1, format) * 0x1p23F);
  }

  [[nodiscard]] HWY_INLINE hn::Vec<Words> operator()(hn::Vec<Floats> value) const {
    const Words words;
    const auto sign = hn::And(hn::ShiftRight<24>(hn::BitCast(words, value)), hn::Set(words, 0x80));
    const auto magnitude = hn::Min(hn::Abs(value), largest_);
    const auto bits = hn::BitCast(words, magnitude);
    const auto odd = hn::And(hn::ShiftRightSame(bits, dropped_bits_), hn::Set(words, 1));
    const auto rounded = hn::ShiftRightSame(hn::Add(bits, hn::Add(below_half_, odd)), dropped_bits_);
    const auto normal = hn::Sub(rounded, rebias_);
    const auto subnormal = hn::Sub(hn::BitCast(words, hn::Add(magnitude, magic_)), hn::BitCast(words, magic_));
    const auto is_subnormal = hn::RebindMask(words, hn::Lt(magnitude, least_normal_));
    return hn::Or(sign, hn::IfThenElse(is_subnormal, subnormal, normal));
  }

 private:
  int dropped_bits_;
  hn::Vec<Floats> largest_;
  hn::Vec<Floats> least_normal_;
  hn::Vec<Words> rebias_;
  hn::Vec<Words> below_half_;
  hn::Vec<Floats> magic_;
};

std::uint32_t largest_magnitude(const float* x, std::int64_t count) {
  const Floats floats;
  const Words words;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(floats));
  auto largest = hn::Zero(words);
  auto other = hn::Zero(words);
  std::int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    largest = hn::Max(largest, hn::BitCast(words, hn::Abs(hn::LoadU(floats, x + i))));
    other = hn::Max(other, hn::BitCast(words, hn::Abs(hn::LoadU(floats, x + i + lanes))));
  }
  std::uint32_t result = hn::GetLane(hn::MaxOfLanes(words, hn::Max(largest, other)));
  for (; i < count; ++i) result = std::max(result, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
  return result;
}

void raise_magnitudes(const float* x, std::int64_t count, std::uint32_t* bits) {
  const Floats floats;
  const Words words;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(floats));
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto magnitude = hn::BitCast(words, hn::Abs(hn::LoadU(floats, x + i)));
    hn::StoreU(hn::Max(magnitude, hn::LoadU(words, bits + i)), words, bits + i);
  }
  for (; i < count; ++i) bits[i] = std::max(bits[i], std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
}

// codes[i] = encode(scaled(i)) for whole vectors of scaled values.
template <typename Scaled, typename ScaledOne>
HWY_INLINE void encode_all(std::int64_t count, Format format, std::uint8_t* codes, const Scaled& scaled,
                           const ScaledOne& scaled_one) {
  const Words words;
  const hn::Rebind<std::uint8_t, Words> bytes;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(words));
  const Encoder encoder(format);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(hn::U8FromU32(encoder(scaled(i))), bytes, codes + i);
  for (; i < count; ++i) codes[i] = static_cast<std::uint8_t>(hn::GetLane(encoder(hn::Set(Floats(), scaled_one(i)))));
}

void encode_divided_by_one(const float* x, std::int64_t count, float divisor, Format format, std::uint8_t* codes) {
  const auto divisors = hn::Set(Floats(), divisor);
  encode_all(
      count, format, codes, [&](std::int64_t i) { return hn::Div(hn::LoadU(Floats(), x + i), divisors); },
      [&](std::int64_t i) { return x[i] / divisor; });
}

void encode_multiplied_by_one(const float* x, std::int64_t count, float factor, Format format, std::uint8_t* codes) {
  const auto factors = hn::Set(Floats(), factor);
  encode_all(
      count, format, codes, [&](std::int64_t i) { return hn::Mul(hn::LoadU(Floats(), x + i), factors); },
      [&](std::int64_t i) { return x[i] * factor; });
}

void encode_divided_by_each(const float* x, std::int64_t count, const float* divisors, Format format,
                            std::uint8_t* codes) {
  encode_all(
      count, format, codes,
      [&](std::int64_t i) { return hn::Div(hn::LoadU(Floats(), x + i), hn::LoadU(Floats(), divisors + i)); },
      [&](std::int64_t i) { return x[i] / divisors[i]; });
}

void encode_multiplied_by_each(const float* x, std::int64_t count, const float* factors, Format format,
                               std::uint8_t* codes) {
  encode_all(
      count, format, codes,
      [&](std::int64_t i) { return hn::Mul(hn::LoadU(Floats(), x + i), hn::LoadU(Floats(), factors + i)); },
      [&](std::int64_t i) { return x[i] * factors[i]; });
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lastbit::numerics {

HWY_EXPORT(largest_magnitude);
HWY_EXPORT(raise_magnitudes);
HWY_EXPORT(encode_divided_by_one);
HWY_EXPORT(encode_multiplied_by_one);
HWY_EXPORT(encode_divided_by_each);
HWY_EXPORT(encode_multiplied_by_each);

std::uint32_t largest_magnitude(const float* x, std::int64_t count) {
  return HWY_DYNAMIC_DISPATCH(largest_magnitude)(x, count);
}

void raise_magnitudes(const float* x, std::int64_t count, std::uint32_t* bits) {
  HWY_DYNAMIC_DISPATCH(raise_magnitudes)(x, count, bits);
}

void encode_divided(const float* x, std::int64_t count, float divisor, Format format, std::uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(encode_divided_by_one)(x, count, divisor, format, codes);
}

void encode_multiplied(const float* x, std::int64_t count, float factor, Format format, std::uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(encode_multiplied_by_one)(x, count, factor, format, codes);
}

void encode_divided(const float* x, std::int64_t count, const float* divisors, Format format, std::uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(encode_divided_by_each)(x, count, divisors, format, codes);
}

void encode_multiplied(const float* x, std::int64_t count, const float* factors, Format format, std::uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(encode_multiplied_by_each)(x, count, factors, format, codes);
}

}  // namespace lastbit::numerics
#endif  // HWY_ONCE

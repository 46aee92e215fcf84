#include "numerics/quantize_loops.h"

#include <algorithm>
#include <array>
#include <bit>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "numerics/quantize_loops.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lastbit::numerics::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Words = hn::RebindToUnsigned<Floats>;

// Numbers of a format, decoded once: an Encoder is made for every line.
struct Marks {
  explicit Marks(Format format)
      : largest(decode(describe(format).max_finite_code(), format)),
        least_normal(decode(1u << describe(format).fraction_bits, format)),
        smallest(decode(1, format)) {}
  float largest;
  float least_normal;
  float smallest;
};

const Marks& marks_of(Format format) {
  static const std::array<Marks, 3> kMarks = {Marks(Format::kE4M3), Marks(Format::kE5M2), Marks(Format::kE2M1)};
  return kMarks.at(format == Format::kE4M3 ? 0 : format == Format::kE5M2 ? 1 : 2);
}

// FP32 to codes of a format of at most 8 bits, to nearest even, saturating.
class Encoder {
 public:
  explicit Encoder(Format format) {
    const FormatDescriptor& d = describe(format);
    const Marks& marks = marks_of(format);
    const Words words;
    const Floats floats;
    dropped_bits_ = 23 - d.fraction_bits;
    sign_shift_ = 31 - std::countr_zero(d.sign_code());
    sign_ = hn::Set(words, d.sign_code());
    largest_ = hn::Set(floats, marks.largest);
    least_normal_ = hn::Set(floats, marks.least_normal);
    rebias_ = hn::Set(words, static_cast<std::uint32_t>(127 - d.bias) << d.fraction_bits);
    below_half_ = hn::Set(words, (1u << (dropped_bits_ - 1)) - 1);
    // Its last place is the format's smallest number: adding it rounds to a multiple of that.
    magic_ = hn::Set(floats, marks.smallest * 0x1p23F);
  }

  [[nodiscard]] HWY_INLINE hn::Vec<Words> operator()(hn::Vec<Floats> value) const {
    const Words words;
    const auto sign = hn::And(hn::ShiftRightSame(hn::BitCast(words, value), sign_shift_), sign_);
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
  int sign_shift_;
  hn::Vec<Words> sign_;
  hn::Vec<Floats> largest_;
  hn::Vec<Floats> least_normal_;
  hn::Vec<Words> rebias_;
  hn::Vec<Words> below_half_;
  hn::Vec<Floats> magic_;
};

HWY_INLINE std::uint32_t largest_magnitude(const float* x, std::int64_t count) {
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
  if (i + lanes <= count) {
    other = hn::Max(other, hn::BitCast(words, hn::Abs(hn::LoadU(floats, x + i))));
    i += lanes;
  }
  std::uint32_t result = hn::GetLane(hn::MaxOfLanes(words, hn::Max(largest, other)));
  for (; i < count; ++i) result = std::max(result, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
  return result;
}

void raise_magnitudes(const float* x, std::int64_t count, std::int64_t segment, std::uint32_t* bits) {
  if (segment > 1) {
    for (std::int64_t i = 0; i < count; i += segment, ++bits)
      *bits = std::max(*bits, largest_magnitude(x + i, std::min(segment, count - i)));
    return;
  }
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

// codes[i] = encode(scale(x[i], factor)), with one factor for all elements or one for each.
template <bool kEach, typename Scale>
HWY_INLINE void encode_run(const float* x, std::int64_t count, const float* factors, const Encoder& encoder,
                           std::uint8_t* codes, const Scale& scale) {
  const Floats floats;
  const hn::Rebind<std::uint8_t, Words> bytes;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(floats));
  const auto factor = [&](std::int64_t i) {
    return kEach ? hn::LoadU(floats, factors + i) : hn::Set(floats, *factors);
  };
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(hn::U8FromU32(encoder(scale(hn::LoadU(floats, x + i), factor(i)))), bytes, codes + i);
  for (; i < count; ++i) {
    const auto one = scale(hn::Set(floats, x[i]), hn::Set(floats, kEach ? factors[i] : *factors));
    codes[i] = static_cast<std::uint8_t>(hn::GetLane(encoder(one)));
  }
}

template <typename Scale>
HWY_INLINE void encode_segments(const float* x, std::int64_t count, std::int64_t segment, const float* factors,
                                Format format, std::uint8_t* codes, const Scale& scale) {
  const Encoder encoder(format);
  if (segment == 1) return encode_run<true>(x, count, factors, encoder, codes, scale);
  for (std::int64_t i = 0; i < count; i += segment, ++factors)
    encode_run<false>(x + i, std::min(segment, count - i), factors, encoder, codes + i, scale);
}

void encode_divided(const float* x, std::int64_t count, std::int64_t segment, const float* divisors, Format format,
                    std::uint8_t* codes) {
  encode_segments(x, count, segment, divisors, format, codes,
                  [](auto value, auto divisor) { return hn::Div(value, divisor); });
}

void encode_multiplied(const float* x, std::int64_t count, std::int64_t segment, const float* factors, Format format,
                       std::uint8_t* codes) {
  encode_segments(x, count, segment, factors, format, codes,
                  [](auto value, auto factor) { return hn::Mul(value, factor); });
}

#if HWY_TARGET != HWY_SCALAR
// 16 x 16: four perfect shuffles of the 16 lines turn them.
HWY_INLINE void transpose_block(const std::uint8_t* from, std::int64_t from_stride, std::uint8_t* to,
                                std::int64_t to_stride) {
  constexpr hn::FixedTag<std::uint8_t, 16> bytes;
  hn::Vec<decltype(bytes)> lines[16];
  hn::Vec<decltype(bytes)> shuffled[16];
  for (std::int64_t i = 0; i < 16; ++i) lines[i] = hn::LoadU(bytes, from + i * from_stride);
#pragma GCC unroll 4
  for (int stage = 0; stage < 4; ++stage) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      shuffled[2 * i] = hn::InterleaveLower(bytes, lines[i], lines[i + 8]);
      shuffled[2 * i + 1] = hn::InterleaveUpper(bytes, lines[i], lines[i + 8]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) lines[i] = shuffled[i];
  }
  for (std::int64_t i = 0; i < 16; ++i) hn::StoreU(lines[i], bytes, to + i * to_stride);
}
#endif

void transpose_bytes(const std::uint8_t* from, std::int64_t rows, std::int64_t cols, std::int64_t from_stride,
                     std::uint8_t* to, std::int64_t to_stride) {
  std::int64_t j = 0;
#if HWY_TARGET != HWY_SCALAR
  // Lines of the result go out whole, by way of a buffer: `to_stride` may map all of them to one set of the cache.
  constexpr std::int64_t kCols = 16;
  constexpr std::int64_t kRows = 64;
  HWY_ALIGN std::array<std::uint8_t, kCols * kRows> lines;
  const std::int64_t whole_rows = rows / kRows * kRows;
  for (; j + kCols <= cols; j += kCols) {
    for (std::int64_t i = 0; i < whole_rows; i += kRows) {
      // A quarter of the rows' next lines and all lines of the next result: too far apart for the hardware to foresee.
      for (std::int64_t q = 0; q < kCols; ++q) {
        hwy::Prefetch(from + (i + j % kRows + q) * from_stride + std::min(j + kRows, cols - 1));
        hwy::Prefetch(to + std::min(j + kCols + q, cols - 1) * to_stride + i);
      }
      for (std::int64_t part = 0; part < kRows; part += 16)
        transpose_block(from + (i + part) * from_stride + j, from_stride, lines.data() + part, kRows);
      for (std::int64_t q = 0; q < kCols; ++q)
        std::copy_n(lines.data() + q * kRows, kRows, to + (j + q) * to_stride + i);
    }
    for (std::int64_t q = j; q < j + kCols; ++q)
      for (std::int64_t i = whole_rows; i < rows; ++i) to[q * to_stride + i] = from[i * from_stride + q];
  }
#endif
  for (; j < cols; ++j)
    for (std::int64_t i = 0; i < rows; ++i) to[j * to_stride + i] = from[i * from_stride + j];
}

}  // namespace lastbit::numerics::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lastbit::numerics {

HWY_EXPORT(raise_magnitudes);
HWY_EXPORT(encode_divided);
HWY_EXPORT(encode_multiplied);
HWY_EXPORT(transpose_bytes);

void raise_magnitudes(const float* x, std::int64_t count, std::int64_t segment, std::uint32_t* bits) {
  HWY_DYNAMIC_DISPATCH(raise_magnitudes)(x, count, segment, bits);
}

void encode_divided(const float* x, std::int64_t count, std::int64_t segment, const float* divisors, Format format,
                    std::uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(encode_divided)(x, count, segment, divisors, format, codes);
}

void encode_multiplied(const float* x, std::int64_t count, std::int64_t segment, const float* factors, Format format,
                       std::uint8_t* codes) {
  HWY_DYNAMIC_DISPATCH(encode_multiplied)(x, count, segment, factors, format, codes);
}

void transpose_bytes(const std::uint8_t* from, std::int64_t rows, std::int64_t cols, std::int64_t from_stride,
                     std::uint8_t* to, std::int64_t to_stride) {
  HWY_DYNAMIC_DISPATCH(transpose_bytes)(from, rows, cols, from_stride, to, to_stride);
}

}  // namespace lastbit::numerics
#endif  // HWY_ONCE

#include "numerics/format.h"

#include <array>
#include <bit>
#include <cmath>

#include "core/error.h"
#include "numerics/round.h"

namespace lastbit::numerics {
namespace {

constexpr std::array<FormatDescriptor, 12> kFormats{{
    // format, name, exponent bits, fraction bits, bias, specials, code shift, bytes
    {Format::kE4M3, "e4m3", 4, 3, 7, Specials::kNanOnly, 0, 1},
    {Format::kE5M2, "e5m2", 5, 2, 15, Specials::kIeee, 0, 1},
    {Format::kE4M3Fnuz, "e4m3fnuz", 4, 3, 8, Specials::kFnuz, 0, 1},
    {Format::kE5M2Fnuz, "e5m2fnuz", 5, 2, 16, Specials::kFnuz, 0, 1},
    {Format::kE8M0, "e8m0", 8, 0, 127, Specials::kScale, 0, 1},
    {Format::kE2M1, "e2m1", 2, 1, 1, Specials::kNone, 0, 1},
    {Format::kE5M6, "e5m6", 5, 6, 15, Specials::kIeee, 0, 2},
    {Format::kF16, "f16", 5, 10, 15, Specials::kIeee, 0, 2},
    {Format::kBF16, "bf16", 8, 7, 127, Specials::kIeee, 0, 2},
    {Format::kTF32, "tf32", 8, 10, 127, Specials::kIeee, 13, 4},
    {Format::kE8M13, "e8m13", 8, 13, 127, Specials::kIeee, 10, 4},
    {Format::kF32, "f32", 8, 23, 127, Specials::kIeee, 0, 4},
}};

constexpr std::uint32_t kScaleNan = 0xff;  // E8M0

std::uint32_t all_ones(const FormatDescriptor& d) { return d.sign_code() - 1; }
std::uint32_t inf_code(const FormatDescriptor& d) { return all_ones(d) - ((1u << d.fraction_bits) - 1); }

NumberKind special_kind(std::uint32_t code, const FormatDescriptor& d) {
  const std::uint32_t magnitude = code & all_ones(d);
  switch (d.specials) {
    case Specials::kIeee:
      if (magnitude < inf_code(d)) return NumberKind::kFinite;
      return magnitude == inf_code(d) ? NumberKind::kInf : NumberKind::kNan;
    case Specials::kNanOnly:
      return magnitude == all_ones(d) ? NumberKind::kNan : NumberKind::kFinite;
    case Specials::kFnuz:
      return code == d.sign_code() ? NumberKind::kNan : NumberKind::kFinite;
    case Specials::kScale:
      return code == kScaleNan ? NumberKind::kNan : NumberKind::kFinite;
    case Specials::kNone:
      break;
  }
  return NumberKind::kFinite;
}

std::uint32_t nan_code(const FormatDescriptor& d, bool negative, Convention convention) {
  const bool cuda = convention == Convention::kCuda;
  const std::uint32_t sign = negative ? d.sign_code() : 0;
  switch (d.specials) {
    case Specials::kIeee:
      return cuda ? all_ones(d) : sign | inf_code(d) | (1u << (d.fraction_bits - 1));
    case Specials::kNanOnly:
      return cuda ? all_ones(d) : sign | all_ones(d);
    case Specials::kFnuz:
      return d.sign_code();
    case Specials::kScale:
      return kScaleNan;
    case Specials::kNone:
      break;
  }
  return cuda ? d.max_finite_code() : sign ^ d.sign_code();
}

// The code of a number beyond the largest finite one (or of Inf).
std::uint32_t overflow_code(const FormatDescriptor& d, bool negative, Overflow overflow) {
  const std::uint32_t sign = negative ? d.sign_code() : 0;
  if (overflow == Overflow::kNone) {
    if (d.specials == Specials::kIeee) return sign | inf_code(d);
    if (d.specials == Specials::kNanOnly) return sign | all_ones(d);
    if (d.specials == Specials::kFnuz) return d.sign_code();
  }
  return sign | d.max_finite_code();
}

// E8M0: code c is 2^(c - 127). Its range starts in FP32's subnormals, at 2^-127, and below that everything is 2^-127.
std::uint32_t encode_scale(float value, const EncodeOptions& options) {
  const bool cuda = options.convention == Convention::kCuda;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value) & 0x7fffffffu;
  constexpr std::uint32_t kInf = 0x7f800000u;
  constexpr std::uint32_t kSmallest = 0x00400000u;  // 2^-127
  if (bits > kInf || (!cuda && (bits == 0 || std::signbit(value)))) return kScaleNan;
  std::uint32_t code = bits >> 23;
  const std::uint32_t fraction = bits & 0x007fffffu;
  if (bits == kInf) {
    code = kScaleNan;
  } else if (options.rounding == Rounding::kUp) {
    code += fraction != 0 && bits > kSmallest ? 1 : 0;
  } else if (options.rounding == Rounding::kNearestEven) {
    // As ml_dtypes: half of the way (1.5 * 2^n) and more goes up, and so does every subnormal above 2^-127.
    code += code == 0 ? (bits > kSmallest ? 1 : 0) : fraction >> 22;
  } else {
    core::check(options.rounding == Rounding::kTowardZero, "e8m0 rounds up, toward zero or to nearest");
  }
  return code == kScaleNan && options.overflow == Overflow::kSaturate ? kScaleNan - 1 : code;
}

// What encode() does with nearly every number, at once: a value whose exponent is that of a normal number of the
// format, to nearest even, in integer arithmetic on FP32's code. Nothing where it rounds beyond the largest finite
// number.
std::optional<std::uint32_t> encode_normal(std::uint32_t bits, const FormatDescriptor& d) {
  constexpr int kBias = 127;
  constexpr int kFractionBits = 23;
  const auto field = static_cast<int>(bits >> kFractionBits & 0xff);
  if (field == 0xff || field <= kBias - d.bias) return std::nullopt;
  // In the format's bias, the fraction below the grid added to half of it: a carry goes into the exponent.
  std::uint32_t magnitude = (bits & 0x7fffffffu) - (static_cast<std::uint32_t>(kBias - d.bias) << kFractionBits);
  if (const int dropped = kFractionBits - d.fraction_bits; dropped > 0) {
    const std::uint32_t odd = magnitude >> dropped & 1;
    magnitude = (magnitude + (1u << (dropped - 1)) - 1 + odd) >> dropped;
  }
  if (magnitude > d.max_finite_code()) return std::nullopt;
  return (bits >> 31 != 0 ? d.sign_code() : 0) | magnitude;
}

}  // namespace

std::uint32_t FormatDescriptor::max_finite_code() const {
  switch (specials) {
    case Specials::kIeee:
      return inf_code(*this) - 1;
    case Specials::kNanOnly:
      return all_ones(*this) - 1;
    case Specials::kScale:
      return kScaleNan - 1;
    case Specials::kFnuz:
    case Specials::kNone:
      break;
  }
  return all_ones(*this);
}

const FormatDescriptor& describe(Format format) {
  const FormatDescriptor& descriptor = kFormats[static_cast<std::size_t>(format)];
  core::check(descriptor.format == format, "the table of formats is in the order of the enumeration");
  return descriptor;
}

std::string_view name(Format format) { return describe(format).name; }

std::optional<Format> find_format(std::string_view name) {
  for (const FormatDescriptor& d : kFormats)
    if (d.name == name) return d.format;
  return std::nullopt;
}

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  names.reserve(kFormats.size());
  for (const FormatDescriptor& d : kFormats) names.emplace_back(d.name);
  return names;
}

Unpacked unpack(std::uint32_t code, Format format) {
  const FormatDescriptor& d = describe(format);
  code >>= d.code_shift;
  const NumberKind kind = special_kind(code, d);
  if (d.specials == Specials::kScale) {
    const bool finite = kind == NumberKind::kFinite;
    return {kind, false, finite ? 1 : 0, finite ? static_cast<std::int32_t>(code) - d.bias : 0};
  }
  const bool negative = (code & d.sign_code()) != 0;
  if (kind != NumberKind::kFinite) return {kind, negative, 0, 0};
  const std::uint32_t magnitude = code & all_ones(d);
  if (magnitude == 0) return {NumberKind::kZero, negative, 0, 0};
  const auto field = static_cast<std::int32_t>(magnitude >> d.fraction_bits);
  const auto fraction = static_cast<std::int32_t>(magnitude & ((1u << d.fraction_bits) - 1));
  const std::int32_t significand = field == 0 ? fraction : fraction + (1 << d.fraction_bits);
  const std::int32_t exponent = field == 0 ? d.min_exponent() : field - d.bias;
  return {NumberKind::kFinite, negative, negative ? -significand : significand, exponent};
}

float decode(std::uint32_t code, Format format) {
  const FormatDescriptor& d = describe(format);
  if (d.exponent_bits == 8 && d.specials == Specials::kIeee)
    return std::bit_cast<float>((code >> d.code_shift) << (23 - d.fraction_bits));
  const Unpacked number = unpack(code, format);
  std::uint32_t bits = 0;
  if (number.kind == NumberKind::kNan) {
    bits = 0x7fc00000u;
  } else if (number.kind == NumberKind::kInf) {
    bits = 0x7f800000u;
  } else if (number.kind == NumberKind::kFinite) {
    const auto magnitude = static_cast<std::uint64_t>(std::abs(number.significand));
    const ExactMagnitude exact{magnitude, number.exponent - d.fraction_bits, false};
    bits = static_cast<std::uint32_t>(
        round_to_grid(describe(Format::kF32), number.negative, exact, Rounding::kTowardZero, 0));
  }
  return std::bit_cast<float>(bits | (number.negative ? 0x80000000u : 0u));
}

EncodeOptions default_encode_options(Format format, Convention convention) {
  EncodeOptions options;
  options.convention = convention;
  const bool cuda = convention == Convention::kCuda;
  options.overflow = cuda && describe(format).storage_bytes == 1 ? Overflow::kSaturate : Overflow::kNone;
  if (cuda && format == Format::kE8M0) options.rounding = Rounding::kUp;
  return options;
}

std::uint32_t encode(float value, Format format, const EncodeOptions& options, std::uint32_t random_word) {
  const FormatDescriptor& d = describe(format);
  if (d.specials == Specials::kScale) return encode_scale(value, options);
  if (options.rounding == Rounding::kNearestEven)
    if (const auto code = encode_normal(std::bit_cast<std::uint32_t>(value), d)) return *code << d.code_shift;
  const Unpacked number = unpack(std::bit_cast<std::uint32_t>(value), Format::kF32);
  const std::uint32_t sign = number.negative ? d.sign_code() : 0;
  std::uint32_t code = 0;
  if (number.kind == NumberKind::kNan) {
    code = nan_code(d, number.negative, options.convention);
  } else if (number.kind == NumberKind::kInf) {
    code = overflow_code(d, number.negative, options.overflow);
  } else {
    const auto magnitude = static_cast<std::uint64_t>(std::abs(number.significand));
    const ExactMagnitude exact{magnitude, number.exponent - 23, false};
    const std::uint64_t rounded = round_to_grid(d, number.negative, exact, options.rounding, random_word);
    const bool inward =
        options.rounding == Rounding::kTowardZero || (options.rounding == Rounding::kUp && number.negative);
    if (rounded > d.max_finite_code())
      code = overflow_code(d, number.negative, inward ? Overflow::kSaturate : options.overflow);
    else if (rounded == 0 && d.specials == Specials::kFnuz)
      code = 0;  // these formats have no -0
    else
      code = sign | static_cast<std::uint32_t>(rounded);
  }
  return code << d.code_shift;
}

}  // namespace lastbit::numerics

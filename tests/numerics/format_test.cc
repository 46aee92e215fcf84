#include "numerics/format.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "numerics/round.h"

namespace lastbit::numerics {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

EncodeOptions options(Convention convention, Overflow overflow, Rounding rounding = Rounding::kNearestEven) {
  return {rounding, overflow, convention};
}
const EncodeOptions kCudaSaturate = options(Convention::kCuda, Overflow::kSaturate);
const EncodeOptions kCudaNone = options(Convention::kCuda, Overflow::kNone);
const EncodeOptions kMlNone = options(Convention::kMlDtypes, Overflow::kNone);

std::vector<Format> signed_formats_up_to_16_bits() {
  return {Format::kE4M3, Format::kE5M2, Format::kE4M3Fnuz, Format::kE5M2Fnuz,
          Format::kE2M1, Format::kE5M6, Format::kF16,      Format::kBF16};
}

std::uint32_t code_count(Format format) { return 2 * describe(format).sign_code(); }

bool is_number(std::uint32_t code, Format format) {
  const NumberKind kind = unpack(code, format).kind;
  return kind == NumberKind::kZero || kind == NumberKind::kFinite;
}

TEST(Format, DecodesKnownValues) {
  EXPECT_EQ(decode(0x7e, Format::kE4M3), 448.0F);
  EXPECT_EQ(decode(0x01, Format::kE4M3), 0x1p-9F);
  EXPECT_EQ(decode(0x7b, Format::kE5M2), 57344.0F);
  EXPECT_EQ(decode(0x01, Format::kE5M2), 0x1p-16F);
  EXPECT_EQ(decode(0xfc, Format::kE5M2), -kInf);
  EXPECT_EQ(decode(0x7f, Format::kE4M3Fnuz), 240.0F);
  EXPECT_EQ(decode(0x01, Format::kE4M3Fnuz), 0x1p-10F);
  EXPECT_TRUE(std::isnan(decode(0x80, Format::kE4M3Fnuz)));
  EXPECT_EQ(decode(0x7f, Format::kE5M2Fnuz), 57344.0F);
  EXPECT_EQ(decode(0x00, Format::kE8M0), 0x1p-127F);
  EXPECT_EQ(decode(0xfe, Format::kE8M0), 0x1p127F);
  EXPECT_EQ(decode(0x07, Format::kE2M1), 6.0F);
  EXPECT_EQ(decode(0x09, Format::kE2M1), -0.5F);
  EXPECT_EQ(decode(0x7bf, Format::kE5M6), 65024.0F);  // (2 - 2^-6) 2^15
  EXPECT_EQ(decode(0x3555, Format::kF16), 0x1.554p-2F);
  EXPECT_EQ(decode(0x3f80, Format::kBF16), 1.0F);
  EXPECT_EQ(decode(0x3f802000, Format::kTF32), 1.0F + 0x1p-10F);
}

TEST(Format, EveryNumberComesBackFromItsValue) {
  for (const Format format : signed_formats_up_to_16_bits())
    for (std::uint32_t code = 0; code < code_count(format); ++code)
      if (is_number(code, format)) {
        for (const Rounding rounding : {Rounding::kNearestEven, Rounding::kTowardZero, Rounding::kUp})
          ASSERT_EQ(encode(decode(code, format), format, options(Convention::kCuda, Overflow::kNone, rounding)), code)
              << name(format);
      }
}

TEST(Format, ConventionsDifferInNanOverflowAndScale) {
  EXPECT_EQ(encode(464.0F, Format::kE4M3, kCudaNone), 0x7eU);  // the tie goes to the even 448
  EXPECT_EQ(encode(-464.1F, Format::kE4M3, kCudaNone), 0xffU);
  EXPECT_EQ(encode(-464.1F, Format::kE4M3, kCudaSaturate), 0xfeU);
  EXPECT_EQ(encode(-kNan, Format::kE4M3, kCudaNone), 0x7fU);
  EXPECT_EQ(encode(-kNan, Format::kE4M3, kMlNone), 0xffU);
  EXPECT_EQ(encode(-kNan, Format::kE5M2, kMlNone), 0xfeU);
  EXPECT_EQ(encode(kNan, Format::kE5M2, kCudaNone), 0x7fU);
  EXPECT_EQ(encode(-kInf, Format::kE5M2, kMlNone), 0xfcU);
  EXPECT_EQ(encode(kNan, Format::kBF16, kMlNone), 0x7fc0U);
  EXPECT_EQ(encode(kNan, Format::kBF16, kCudaNone), 0x7fffU);
  EXPECT_EQ(encode(kInf, Format::kE4M3Fnuz, kMlNone), 0x80U);
  EXPECT_EQ(encode(-1e-9F, Format::kE4M3Fnuz, kCudaNone), 0x00U);  // no -0
  EXPECT_EQ(encode(1e9F, Format::kE2M1, kCudaNone), 0x7U);
  EXPECT_EQ(encode(kNan, Format::kE2M1, kCudaNone), 0x7U);
  EXPECT_EQ(encode(kNan, Format::kE2M1, kMlNone), 0x8U);
}

TEST(Format, ScaleRounding) {
  const EncodeOptions up = default_encode_options(Format::kE8M0);
  EXPECT_EQ(up.rounding, Rounding::kUp);
  EXPECT_EQ(encode(1.0F, Format::kE8M0, up), 127U);
  EXPECT_EQ(encode(-1.0000001F, Format::kE8M0, up), 128U);
  EXPECT_EQ(encode(0.0F, Format::kE8M0, up), 0U);
  EXPECT_EQ(encode(kInf, Format::kE8M0, up), 254U);
  EXPECT_EQ(encode(kInf, Format::kE8M0, options(Convention::kCuda, Overflow::kNone, Rounding::kUp)), 255U);
  EXPECT_EQ(encode(1.999F, Format::kE8M0, options(Convention::kCuda, Overflow::kSaturate, Rounding::kTowardZero)),
            127U);
  EXPECT_EQ(encode(1.5F, Format::kE8M0, kMlNone), 128U);
  EXPECT_EQ(encode(1.4999F, Format::kE8M0, kMlNone), 127U);
  EXPECT_EQ(encode(0.0F, Format::kE8M0, kMlNone), 255U);
  EXPECT_EQ(encode(-2.0F, Format::kE8M0, kMlNone), 255U);
}

TEST(Format, DirectedRoundingOverflowsInwardOnly) {
  const EncodeOptions zero = options(Convention::kCuda, Overflow::kNone, Rounding::kTowardZero);
  const EncodeOptions up = options(Convention::kCuda, Overflow::kNone, Rounding::kUp);
  EXPECT_EQ(encode(1e9F, Format::kE4M3, zero), 0x7eU);
  EXPECT_EQ(encode(-1e9F, Format::kE5M2, up), 0xfbU);
  EXPECT_EQ(encode(1e9F, Format::kE5M2, up), 0x7cU);
  EXPECT_EQ(encode(kInf, Format::kE5M2, zero), 0x7cU);
  EXPECT_EQ(encode(1.01F, Format::kE4M3, up), 0x39U);
  EXPECT_EQ(encode(-1.01F, Format::kE4M3, up), 0xb8U);
}

// Nearest-even by search over all codes, in double: no shared code with encode().
std::uint32_t nearest_by_search(float value, Format format) {
  std::uint32_t best = 0;
  double best_distance = std::numeric_limits<double>::infinity();
  for (std::uint32_t code = 0; code < describe(format).sign_code(); ++code) {
    if (!is_number(code, format)) continue;
    const double distance = std::abs(std::abs(static_cast<double>(value)) - static_cast<double>(decode(code, format)));
    if (distance < best_distance || (distance == best_distance && code % 2 == 0)) {
      best = code;
      best_distance = distance;
    }
  }
  return best | (std::signbit(value) ? describe(format).sign_code() : 0);
}

RC_GTEST_PROP(FormatProperty, NearestEvenMatchesASearchOverAllCodes, ()) {
  const Format format = *rc::gen::element(Format::kE4M3, Format::kE5M2, Format::kE2M1, Format::kE5M6);
  const int exponent = *rc::gen::inRange(-22, 9);
  const auto significand = *rc::gen::inRange<int>(0, 1 << 13);
  const float value = std::ldexp(static_cast<float>(significand), exponent - 8);
  RC_ASSERT(encode(value, format, kCudaSaturate) == nearest_by_search(value, format));
  RC_ASSERT(encode(-value, format, kCudaSaturate) == nearest_by_search(-value, format));
}

RC_GTEST_PROP(FormatProperty, ZeroAndUpEncloseTheValue, (std::uint32_t bits)) {
  const float value = std::bit_cast<float>(bits);
  RC_PRE(std::isfinite(value));
  for (const Format format :
       {Format::kE4M3, Format::kE5M6, Format::kF16, Format::kBF16, Format::kTF32, Format::kE8M13}) {
    const float low =
        decode(encode(value, format, options(Convention::kCuda, Overflow::kNone, Rounding::kTowardZero)), format);
    const float high =
        decode(encode(value, format, options(Convention::kCuda, Overflow::kNone, Rounding::kUp)), format);
    RC_ASSERT(std::abs(low) <= std::abs(value));
    RC_ASSERT(std::isnan(high) || high >= value ||
              high == -decode(describe(format).max_finite_code() << describe(format).code_shift, format));
  }
}

// Around every binade's ends, ties and overflow: what encode() does at once against the rule of round.h.
TEST(Format, NearestEvenIsTheGridsRuleAroundEveryTie) {
  for (const Format format :
       {Format::kE4M3, Format::kE5M2, Format::kE4M3Fnuz, Format::kE5M2Fnuz, Format::kE2M1, Format::kE5M6, Format::kF16,
        Format::kBF16, Format::kTF32, Format::kE8M13, Format::kF32}) {
    const FormatDescriptor& d = describe(format);
    const std::uint32_t half = 1U << std::max(22 - d.fraction_bits, 0);
    for (std::uint32_t field = 1; field < 0xff; ++field)
      for (std::uint32_t step = 0; step < 40; ++step)
        for (const std::uint32_t off : {0U, 1U, half - 1, half, half + 1}) {
          const std::uint32_t fraction = (step < 20 ? step : 0x800000U / (2 * half) - 40 + step) * 2 * half + off;
          const std::uint32_t bits = field << 23 | (fraction & 0x7fffffU);
          const ExactMagnitude exact{0x800000U | (bits & 0x7fffffU), static_cast<int>(field) - 150, false};
          const std::uint64_t grid = round_to_grid(d, false, exact, Rounding::kNearestEven, 0);
          const std::uint64_t largest = d.max_finite_code();
          const auto code = static_cast<std::uint32_t>(std::min(grid, largest) << d.code_shift);
          ASSERT_EQ(encode(std::bit_cast<float>(bits), format, kCudaSaturate), code) << name(format) << " " << bits;
        }
  }
}

TEST(Format, StochasticRoundingHitsTheFraction) {
  const EncodeOptions stochastic = options(Convention::kCuda, Overflow::kSaturate, Rounding::kStochastic);
  const float value = 1.0F + 0.125F * 0.375F;  // 3/8 of the way from 0x38 to 0x39
  EXPECT_EQ(encode(value, Format::kE4M3, stochastic, 0x5fffffffU), 0x39U);
  EXPECT_EQ(encode(value, Format::kE4M3, stochastic, 0x60000000U), 0x38U);
  EXPECT_EQ(encode(-value, Format::kE4M3, stochastic, 0x5fffffffU), 0xb9U);
  EXPECT_EQ(encode(1.0F, Format::kE4M3, stochastic, 0U), 0x38U);  // exact stays
}

}  // namespace
}  // namespace lastbit::numerics

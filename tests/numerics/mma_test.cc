#include "numerics/mma.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "numerics/units.h"
#include "support/int128.h"

namespace lastbit::numerics {
namespace {

std::vector<std::byte> to_bytes(const std::vector<std::uint32_t>& codes, Format format) {
  std::vector<std::byte> bytes;
  for (const std::uint32_t code : codes)
    for (int i = 0; i < describe(format).storage_bytes; ++i)
      bytes.push_back(static_cast<std::byte>(code >> (8 * i) & 0xff));
  return bytes;
}

// One dot through mma(), from codes.
std::uint32_t dot_codes(const MmaRule& rule, const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b,
                        std::uint32_t c) {
  const std::vector<std::byte> a_bytes = to_bytes(a, rule.a);
  const std::vector<std::byte> b_bytes = to_bytes(b, rule.b);
  const auto k = static_cast<std::int64_t>(a.size());
  std::uint32_t d = 0;
  mma(rule, {rule.a, 1, k, a_bytes}, {rule.b, 1, k, b_bytes}, {&c, 1}, {&d, 1});
  return d;
}

std::vector<std::uint32_t> encode_all(const std::vector<float>& values, Format format) {
  std::vector<std::uint32_t> codes;
  for (const float value : values) {
    codes.push_back(encode(value, format, default_encode_options(format)));
    EXPECT_EQ(decode(codes.back(), format), value) << "the case wants values that the format has";
  }
  return codes;
}

// One dot from values, in FP32.
float dot(const MmaRule& rule, const std::vector<float>& a, const std::vector<float>& b, float c) {
  const std::uint32_t c_code = encode_all({c}, rule.d)[0];
  return decode(dot_codes(rule, encode_all(a, rule.a), encode_all(b, rule.b), c_code), rule.d);
}

MmaRule rule(const char* unit, Format operand, Format d = Format::kF32) {
  return rule_of(find_unit(unit), operand, operand, d);
}

const MmaRule kHopperFp8 = rule("hopper_wgmma", Format::kE4M3);
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(MmaStep, TruncatesTermsTowardZeroAtThirteenBits) {
  EXPECT_EQ(dot(kHopperFp8, {1}, {1}, 0x1p-13F), 1.0F + 0x1p-13F);
  EXPECT_EQ(dot(kHopperFp8, {1}, {1}, 0x1.fp-14F), 1.0F);
  EXPECT_EQ(dot(kHopperFp8, {1}, {1}, -0x1.fp-14F), 1.0F);  // toward zero, not down
  EXPECT_EQ(dot(kHopperFp8, {1, -0x1p-6F}, {1, 0x1p-7F}, 0), 1.0F - 0x1p-13F);
}

TEST(MmaStep, DoesNotRenormaliseProducts) {
  // 1.5 * 1.5 = 2.25 has exponent 0: the grid is 2^-13, and two terms of 2^-13 survive to add up to one of 2^-12.
  EXPECT_EQ(dot(kHopperFp8, {1.5F, 0x1p-6F, 0x1p-6F}, {1.5F, 0x1p-7F, 0x1p-7F}, 0), 2.25F + 0x1p-12F);
  // 1.5 * 1.5 + 2^-13 needs 14 fraction bits at exponent 1: truncated on output.
  EXPECT_EQ(dot(kHopperFp8, {1.5F, 0x1p-6F}, {1.5F, 0x1p-7F}, 0), 2.25F);
}

TEST(MmaStep, SubnormalOperandsKeepTheLeastExponent) {
  // 2^-9 (subnormal, exponent -6) squared has exponent -12: c = 2^-24 lies 12 below and stays, 2^-26 is cut.
  EXPECT_EQ(dot(kHopperFp8, {0x1p-9F}, {0x1p-9F}, 0x1p-24F), 0x1p-18F + 0x1p-24F);
  EXPECT_EQ(dot(kHopperFp8, {0x1p-9F}, {0x1p-9F}, 0x1p-26F), 0x1p-18F);
}

TEST(MmaStep, AccumulatorMayDominate) {
  EXPECT_EQ(dot(kHopperFp8, {448}, {448}, 0x1p40F), 0x1p40F);
  EXPECT_EQ(dot(kHopperFp8, {448}, {448}, 0x1p30F), 0x1p30F + 0x1p17F);  // 200704 = 1.53 * 2^17, grid 2^17
  EXPECT_EQ(dot_codes(kHopperFp8, {0}, {0}, 0x3fffffffU), 0x3ffffc00U);  // c alone is cut too
}

TEST(MmaStep, ZerosArePositiveAndTakeNoPart) {
  EXPECT_EQ(dot_codes(kHopperFp8, {0x80, 0x80}, {0x00, 0x38}, 0x80000000U), 0U);
  EXPECT_EQ(dot_codes(kHopperFp8, {0x38, 0xb8}, {0x38, 0x38}, 0U), 0U);  // 1 - 1
  EXPECT_EQ(dot(kHopperFp8, {0}, {448}, 0x1p-30F), 0x1p-30F);
}

TEST(MmaStep, SpecialsFollowTheIeeeSum) {
  const MmaRule e5m2 = rule("hopper_wgmma", Format::kE5M2);
  const std::uint32_t one = 0x3c, inf = 0x7c, zero = 0x80;
  EXPECT_EQ(dot_codes(e5m2, {inf}, {one}, 0), 0x7f800000U);
  EXPECT_EQ(dot_codes(e5m2, {inf}, {one | 0x80}, 0), 0xff800000U);
  EXPECT_EQ(dot_codes(e5m2, {inf}, {zero}, 0), 0x7fffffffU);
  EXPECT_EQ(dot_codes(e5m2, {inf, inf}, {one, one | 0x80}, 0), 0x7fffffffU);
  EXPECT_EQ(dot_codes(e5m2, {inf}, {one}, 0xff800000U), 0x7fffffffU);
  EXPECT_EQ(dot_codes(e5m2, {one}, {one}, 0xff800000U), 0xff800000U);
  EXPECT_EQ(dot_codes(e5m2, {0x7e}, {zero}, 0), 0x7fffffffU);
  EXPECT_EQ(dot_codes(rule("hopper_wgmma", Format::kF16, Format::kF16), {0x7e00}, {0x3c00}, 0), 0x7fffU);
}

TEST(MmaStep, OutputOverflowIsInf) {
  const MmaRule bf16 = rule("hopper_wgmma", Format::kBF16);
  EXPECT_EQ(dot(bf16, {0x1p100F}, {-0x1p100F}, 0), -kInf);
  const MmaRule half = rule("hopper_wgmma", Format::kF16, Format::kF16);
  EXPECT_EQ(dot_codes(half, {0x7bff, 0x4c00}, {0x3c00, 0x3c00}, 0), 0x7c00U);  // 65504 + 16, the tie to 2^16
  EXPECT_EQ(dot_codes(half, {0x7bff, 0x4b00}, {0x3c00, 0x3c00}, 0), 0x7bffU);  // 65504 + 14
}

TEST(MmaStep, HalfOutputRoundsToNearestEvenAndToPositiveZero) {
  const MmaRule half = rule("hopper_wgmma", Format::kF16, Format::kF16);
  EXPECT_EQ(dot(half, {1, 0x1p-11F}, {1, 1}, 0), 1.0F);
  EXPECT_EQ(dot(half, {1, 0x1.8p-11F}, {1, 1}, 0), 1.0F + 0x1p-10F);
  EXPECT_EQ(dot_codes(half, encode_all({-0x1p-14F}, Format::kF16), encode_all({0x1p-12F}, Format::kF16), 0), 0U);
}

TEST(MmaStep, LongDotsRunInSteps) {
  // Ada consumes 16 at a time: 1 is cut against 2^13 on the way in, or is not there yet.
  std::vector<float> a(32, 0.0F);
  std::vector<float> b(32, 0.0F);
  a[0] = 128, b[0] = 128;  // 2^14, grid 2
  a[16] = a[17] = 1, b[16] = b[17] = 1;
  EXPECT_EQ(dot(rule("ada_mma", Format::kE4M3), a, b, 0), 0x1p14F);
  EXPECT_EQ(dot(rule("blackwell_tcgen05", Format::kE4M3), a, b, 0), 0x1p14F + 2);
  a[16] = a[17] = 2;
  EXPECT_EQ(dot(rule("ada_mma", Format::kE4M3), a, b, 0), 0x1p14F + 4);
}

TEST(MmaStep, Cdna3FloorsAndRoundsOnce) {
  const MmaRule f16 = rule("amd_cdna3_mfma", Format::kF16);
  EXPECT_EQ(dot(f16, {1}, {1}, -0x1p-40F), 1.0F - 0x1p-24F);  // floor, not truncation
  EXPECT_EQ(dot(f16, {1}, {1}, 0x1p-25F), 1.0F);
  const MmaRule fp8 = rule("amd_cdna3_mfma", Format::kE4M3Fnuz);
  EXPECT_EQ(dot(fp8, {1}, {1}, -0x1p-25F), 1.0F - 0x1p-24F);
  EXPECT_EQ(dot(fp8, {1}, {1}, -0x1p-26F), 1.0F);  // out of reach: dropped
  const MmaRule bf16 = rule("amd_cdna3_mfma", Format::kBF16);
  EXPECT_EQ(dot(bf16, {0x1p64F, 1}, {0x1p64F, 1}, 0), kInf);
  EXPECT_TRUE(std::isnan(dot(bf16, {0x1p64F, -0x1p64F}, {0x1p64F, 0x1p64F}, 0)));
}

TEST(MmaStep, MmaSyncRoundsTheExactSumOnce) {
  const MmaRule exact = rule("b200_mma_sync", Format::kE5M2);
  EXPECT_EQ(dot(exact, {0x1p-16F}, {0x1p-16F}, 1.0F), 1.0F + 0x1p-32F);
  EXPECT_EQ(dot(exact, {0x1p15F, 0x1p-16F, -0x1p15F}, {0x1p15F, 0x1p-16F, 0x1p15F}, 0), 0x1p-32F);
  EXPECT_EQ(dot_codes(exact, {0x01, 0x01}, {0x01, 0x01}, 0x3f800000U), 0x3f800000U);
  EXPECT_EQ(dot(exact, {0x1p-12F, 0x1p-16F}, {0x1p-12F, 0x1p-16F}, 1.0F), 1.0F + 0x1p-23F);  // tie broken by 2^-32
}

TEST(MmaStep, NamedVariantsOfTheOpenQuestions) {
  MmaRule bf16 = rule("hopper_wgmma", Format::kBF16);
  const std::vector<float> tiny(8, 0x1p-76F);  // eight products of 2^-152 make 2^-149
  EXPECT_EQ(dot(bf16, tiny, tiny, 0), 0x1p-149F);
  bf16.zero_exponent = -126;  // c = 0 pins the grid to 2^-151: every product is cut
  EXPECT_EQ(dot(bf16, tiny, tiny, 0), 0.0F);
  bf16.zero_exponent.reset();
  bf16.least_alignment = -133;  // grid 2^-158: nothing is cut
  EXPECT_EQ(dot(bf16, tiny, tiny, 0), 0x1p-149F);
  bf16.least_alignment = -120;
  EXPECT_EQ(dot(bf16, tiny, tiny, 0), 0.0F);
}

// The rule once more, in double and from the text, without anything that mma.cc uses.
struct Parts {
  double significand;
  int exponent;
};
Parts parts(double value, int least_exponent) {
  if (value == 0) return {0, -100000};
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent) * 2;
  --exponent;
  if (exponent >= least_exponent) return {fraction, exponent};
  return {std::ldexp(fraction, exponent - least_exponent), least_exponent};
}

double on_grid(double value, int exponent) { return std::ldexp(std::trunc(std::ldexp(value, -exponent)), exponent); }

std::uint32_t oracle_f32(const MmaRule& rule, const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b,
                         std::uint32_t c) {
  std::vector<Parts> terms{parts(static_cast<double>(std::bit_cast<float>(c)), -126)};
  for (std::size_t k = 0; k < a.size(); ++k) {
    const Parts x = parts(static_cast<double>(decode(a[k], rule.a)), describe(rule.a).min_exponent());
    const Parts y = parts(static_cast<double>(decode(b[k], rule.b)), describe(rule.b).min_exponent());
    if (x.significand != 0 && y.significand != 0)
      terms.push_back({x.significand * y.significand, x.exponent + y.exponent});
  }
  int largest = -100000;
  for (const Parts& term : terms) largest = std::max(largest, term.exponent);
  double sum = 0;
  for (const Parts& term : terms)
    sum += on_grid(std::ldexp(term.significand, term.exponent - largest), -rule.fraction_bits);
  const Parts result = parts(std::ldexp(sum, largest), -126);
  const int kept = rule.output_grid == Format::kE8M13 ? 13 : 23;
  const double cut = std::ldexp(on_grid(result.significand, -kept), result.exponent);
  return cut == 0 ? 0 : std::bit_cast<std::uint32_t>(static_cast<float>(cut));
}

struct Case {
  std::vector<std::uint32_t> a;
  std::vector<std::uint32_t> b;
  std::uint32_t c;
};

// Finite codes over the whole range, or near one exponent, so that both long and short alignments come up.
std::uint32_t any_finite_code(Format format, bool narrow) {
  const FormatDescriptor& d = describe(format);
  if (format == Format::kF32) {
    const int exponent = *rc::gen::inRange(narrow ? 120 : 90, narrow ? 136 : 160);
    return static_cast<std::uint32_t>(exponent << 23 | *rc::gen::inRange(0, 1 << 23)) |
           (*rc::gen::arbitrary<bool>() ? 0x80000000U : 0U);
  }
  const std::uint32_t one = static_cast<std::uint32_t>(d.bias) << d.fraction_bits;
  const std::uint32_t low = narrow ? one - (2u << d.fraction_bits) : 0;
  const std::uint32_t high = narrow ? one + (2u << d.fraction_bits) : d.max_finite_code();
  const auto magnitude = *rc::gen::inRange<std::uint32_t>(low, high + 1);
  return (magnitude | (*rc::gen::arbitrary<bool>() ? d.sign_code() : 0)) << d.code_shift;
}

Case any_case(const MmaRule& rule) {
  const bool narrow = *rc::gen::arbitrary<bool>();
  Case result{{}, {}, any_finite_code(Format::kF32, narrow)};
  for (int k = 0; k < rule.step_k; ++k) {
    result.a.push_back(any_finite_code(rule.a, narrow));
    result.b.push_back(any_finite_code(rule.b, narrow));
  }
  return result;
}

MmaRule any_rule() {
  struct Choice {
    const char* unit;
    Format operand;
  };
  const auto choice = *rc::gen::elementOf(std::vector<Choice>{{"volta_mma", Format::kF16},
                                                              {"ampere_mma", Format::kTF32},
                                                              {"ada_mma", Format::kE4M3},
                                                              {"hopper_wgmma", Format::kE4M3},
                                                              {"hopper_wgmma", Format::kE5M2},
                                                              {"hopper_wgmma", Format::kBF16},
                                                              {"blackwell_tcgen05", Format::kE5M2},
                                                              {"blackwell_tcgen05", Format::kF16}});
  return rule(choice.unit, choice.operand);
}

RC_GTEST_PROP(MmaProperty, MatchesTheRuleInDouble, ()) {
  const MmaRule any = any_rule();
  const Case one = any_case(any);
  const std::uint32_t expected = oracle_f32(any, one.a, one.b, one.c);
  RC_PRE(std::isfinite(std::bit_cast<float>(expected)));
  RC_ASSERT(dot_codes(any, one.a, one.b, one.c) == expected);
}

RC_GTEST_PROP(MmaProperty, OrderWithinAStepDoesNotMatter, ()) {
  const MmaRule any = any_rule();
  const Case one = any_case(any);
  std::vector<std::size_t> order(one.a.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (std::size_t i = order.size(); i-- > 1;) std::swap(order[i], order[*rc::gen::inRange<std::size_t>(0, i + 1)]);
  Case other = one;
  for (std::size_t i = 0; i < order.size(); ++i) {
    other.a[i] = one.a[order[i]];
    other.b[i] = one.b[order[i]];
  }
  RC_ASSERT(dot_codes(any, one.a, one.b, one.c) == dot_codes(any, other.a, other.b, other.c));
}

RC_GTEST_PROP(MmaProperty, ExactUnitMatchesA128BitSum, ()) {
  const MmaRule exact = rule("b200_mma_sync", Format::kE5M2);
  Case one = any_case(exact);
  one.c = std::bit_cast<std::uint32_t>(static_cast<float>(*rc::gen::inRange(-(1 << 24), 1 << 24)) * 0x1p-12F);
  testing::Int128 sum = static_cast<testing::Int128>(static_cast<double>(std::bit_cast<float>(one.c)) * 0x1p12)
                        << 20;  // in 2^-32
  for (std::size_t k = 0; k < one.a.size(); ++k) {
    const double product =
        static_cast<double>(decode(one.a[k], exact.a)) * static_cast<double>(decode(one.b[k], exact.b));
    sum += static_cast<testing::Int128>(std::ldexp(product, 32));  // an integer below 2^64: exact
  }
  const bool negative = sum < 0;
  auto magnitude = static_cast<testing::Uint128>(negative ? -sum : sum);
  int shift = 0;  // down to 25 bits, the dropped ones kept as a sticky last bit: then (float) rounds correctly
  bool sticky = false;
  while (magnitude >> 25 != 0) {
    sticky = sticky || (magnitude & 1) != 0;
    magnitude >>= 1;
    ++shift;
  }
  const auto kept = static_cast<std::int64_t>(magnitude) * 2 + (sticky ? 1 : 0);
  const float expected = std::ldexp(static_cast<float>(negative ? -kept : kept), shift - 33);
  RC_ASSERT(dot_codes(exact, one.a, one.b, one.c) == std::bit_cast<std::uint32_t>(expected + 0.0F));
}

RC_GTEST_PROP(MmaProperty, SmallIntegersAreExactEverywhere, ()) {
  const char* unit = *rc::gen::element("volta_mma", "turing_mma", "ampere_mma", "ada_mma", "hopper_wgmma",
                                       "blackwell_tcgen05", "amd_cdna3_mfma");
  const MmaRule any = rule(unit, Format::kF16);
  std::vector<float> a, b;
  int sum = *rc::gen::inRange(-1000, 1001);
  const auto c = static_cast<float>(sum);
  const int length = *rc::gen::inRange(1, 3 * any.step_k);
  for (int k = 0; k < length; ++k) {
    const int x = *rc::gen::inRange(-100, 101);
    const int y = *rc::gen::inRange(-100, 101);
    a.push_back(static_cast<float>(x));
    b.push_back(static_cast<float>(y));
    sum += x * y;
  }
  RC_ASSERT(dot(any, a, b, c) == static_cast<float>(sum));
}

}  // namespace
}  // namespace lastbit::numerics

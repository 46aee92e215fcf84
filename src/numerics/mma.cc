#include "numerics/mma.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/exact_sum.h"
#include "numerics/mma_parts.h"

namespace lastbit::numerics {
namespace {

// CDNA3, 16- and 8-bit: the sum of products is floored to 2^(M - 31), c to 2^(M - 24), M the larger exponent.
constexpr int kCdna3SumBits = 31;
constexpr int kCdna3CBits = 24;
constexpr int kCdna3CReach = 25;  // 8-bit types drop a c whose exponent is below M - 25

// The IEEE sum of terms of which at least one is Inf or NaN.
std::uint32_t sum_of_specials(const MmaRule& rule, OperandRow a, OperandRow b, const AccumulatorTerm& c) {
  SpecialTerms terms;
  terms.nan = c.kind == NumberKind::kNan;
  if (c.kind == NumberKind::kInf) terms.add_inf(c.negative);
  for (int k = 0; k < rule.step_k; ++k) {
    if (a.exponents[k] < kSpecialThreshold && b.exponents[k] < kSpecialThreshold) continue;
    // NaN and zero both have significand 0: NaN times x and Inf times 0 are NaN.
    if (a.significands[k] == 0 || b.significands[k] == 0)
      terms.nan = true;
    else
      terms.add_inf((a.significands[k] < 0) != (b.significands[k] < 0));
  }
  return special_result(rule, terms);
}

// The largest exponent sum of products k = first, first + stride, ...; below kZeroThreshold when all are zero.
int largest_exponent(OperandRow a, OperandRow b, int first, int count, int stride) {
  std::int32_t largest = 2 * kZeroExponent;
  for (int k = first; k < count; k += stride) largest = std::max(largest, a.exponents[k] + b.exponents[k]);
  return largest;
}

int product_fraction_bits(const MmaRule& rule) {
  return describe(rule.a).fraction_bits + describe(rule.b).fraction_bits;
}

// The products k = first, first + stride, ..., each truncated to a multiple of 2^(alignment - F), in those multiples.
std::int64_t truncated_products(const MmaRule& rule, OperandRow a, OperandRow b, int alignment, int first, int stride) {
  const int to_units = rule.fraction_bits - product_fraction_bits(rule) - alignment;
  std::int64_t sum = 0;
  for (int k = first; k < rule.step_k; k += stride) {
    const std::int64_t product = static_cast<std::int64_t>(a.significands[k]) * b.significands[k];
    sum += product == 0 ? 0 : shift_truncating(product, a.exponents[k] + b.exponents[k] + to_units);
  }
  return sum;
}

// The exponent that products with a zero operand have in the reading that lets them take part in E.
int alignment_of_zeros(const MmaRule& rule, OperandRow a, OperandRow b, const AccumulatorTerm& c) {
  const int zero = *rule.zero_exponent;
  int largest = c.exponent == kZeroExponent ? zero : c.exponent;
  for (int k = 0; k < rule.step_k; ++k) {
    const int exponent_a = a.significands[k] == 0 ? zero : a.exponents[k];
    const int exponent_b = b.significands[k] == 0 ? zero : b.exponents[k];
    largest = std::max(largest, exponent_a + exponent_b);
  }
  return largest;
}

std::uint32_t step_truncated(const MmaRule& rule, OperandRow a, OperandRow b, const AccumulatorTerm& c,
                             int products_exponent) {
  int alignment = std::max(products_exponent, c.exponent);
  if (alignment < kZeroThreshold) return 0;
  if (rule.zero_exponent) alignment = std::max(alignment, alignment_of_zeros(rule, a, b, c));
  if (rule.least_alignment) alignment = std::max(alignment, *rule.least_alignment);
  std::int64_t sum = truncated_products(rule, a, b, alignment, 0, 1);
  if (c.significand != 0)
    sum += shift_truncating(c.significand, c.exponent - c.fraction_bits - alignment + rule.fraction_bits);
  return round_output(rule, sum, alignment - rule.fraction_bits);
}

std::uint32_t step_exact(const MmaRule& rule, OperandRow a, OperandRow b, const AccumulatorTerm& c) {
  ExactSum sum;
  const int fraction_bits = product_fraction_bits(rule);
  for (int k = 0; k < rule.step_k; ++k) {
    const std::int64_t product = static_cast<std::int64_t>(a.significands[k]) * b.significands[k];
    if (product != 0) sum.add(product, a.exponents[k] + b.exponents[k] - fraction_bits);
  }
  if (c.significand != 0) sum.add(c.significand, c.exponent - c.fraction_bits);
  return round_output(rule, sum.is_negative(), sum.magnitude());
}

// CDNA3: a single product of 2^128 or more is an Inf of its own.
SpecialTerms overflowing_products(const MmaRule& rule, OperandRow a, OperandRow b) {
  SpecialTerms terms;
  const int fraction_bits = product_fraction_bits(rule);
  for (int k = 0; k < rule.step_k; ++k) {
    const std::int64_t product = static_cast<std::int64_t>(a.significands[k]) * b.significands[k];
    const auto magnitude = static_cast<std::uint64_t>(product < 0 ? -product : product);
    const int leading =
        static_cast<int>(std::bit_width(magnitude)) - 1 + a.exponents[k] + b.exponents[k] - fraction_bits;
    if (magnitude != 0 && leading >= 128) terms.add_inf(product < 0);
  }
  return terms;
}

// The sum of products in multiples of 2^(exponent - F).
struct ProductSum {
  std::int64_t sum;
  int exponent;
};

ProductSum sum_cdna3(const MmaRule& rule, OperandRow a, OperandRow b, int products_exponent) {
  if (products_exponent < kZeroThreshold) return {0, products_exponent};
  if (rule.accumulation == Accumulation::kCdna3)
    return {truncated_products(rule, a, b, products_exponent, 0, 1), products_exponent};
  std::int64_t sum = 0;
  for (const int first : {0, 1}) {  // even k, then odd k
    const int exponent = largest_exponent(a, b, first, rule.step_k, 2);
    if (exponent < kZeroThreshold) continue;
    sum += shift_flooring(truncated_products(rule, a, b, exponent, first, 2), exponent - products_exponent);
  }
  return {sum, products_exponent};
}

std::uint32_t step_cdna3(const MmaRule& rule, OperandRow a, OperandRow b, const AccumulatorTerm& c,
                         int products_exponent) {
  if (products_exponent >= 127) {
    const SpecialTerms terms = overflowing_products(rule, a, b);
    if (terms.positive_inf || terms.negative_inf) return special_result(rule, terms);
  }
  const ProductSum products = sum_cdna3(rule, a, b, products_exponent);
  const int largest = std::max(products.exponent, c.exponent);
  if (largest < kZeroThreshold) return 0;
  // Both terms in multiples of 2^(largest - 31): |sum of 16 products| < 2^(31 + 6), c below 2^(31 + 1).
  std::int64_t sum = 0;
  if (products.sum != 0)
    sum = shift_flooring(products.sum, products.exponent - rule.fraction_bits - largest + kCdna3SumBits);
  const bool dropped = rule.accumulation == Accumulation::kCdna3Split && c.exponent < largest - kCdna3CReach;
  if (c.significand != 0 && !dropped) {
    const std::int64_t floored = shift_flooring(c.significand, c.exponent - c.fraction_bits - largest + kCdna3CBits);
    sum += floored * (std::int64_t{1} << (kCdna3SumBits - kCdna3CBits));
  }
  return round_output(rule, sum, largest - kCdna3SumBits);
}

// Half of a step of kFp16Halves: the elements whose k mod 4 is `first` or `first` + 1, as one step of kTruncated.
std::uint32_t step_half(const MmaRule& rule, OperandRow a, OperandRow b, int first, std::uint32_t c_code) {
  constexpr int kMostK = 64;
  std::array<std::array<std::int32_t, kMostK>, 4> halves{};
  MmaRule half = rule;
  half.accumulation = Accumulation::kTruncated;
  half.step_k = 0;
  for (int k = first; k < rule.step_k; k += (k & 1) == 0 ? 1 : 3) {
    const auto to = static_cast<std::size_t>(half.step_k++);
    halves[0][to] = a.significands[k];
    halves[1][to] = a.exponents[k];
    halves[2][to] = b.significands[k];
    halves[3][to] = b.exponents[k];
  }
  return mma_step(half, {halves[0].data(), halves[1].data()}, {halves[2].data(), halves[3].data()}, c_code);
}

std::uint32_t step_fp16_halves(const MmaRule& rule, OperandRow a, OperandRow b, std::uint32_t c_code) {
  const std::uint32_t products = step_half(rule, a, b, 2, step_half(rule, a, b, 0, 0));
  // Two FP16 numbers add up in FP32 with enough bits that rounding twice is rounding once.
  const float sum = decode(products, rule.d) + decode(c_code, rule.d);
  if (std::isnan(sum)) return rule.nan_code;
  if (rule.d == Format::kF32) return std::bit_cast<std::uint32_t>(sum);
  return encode(sum, rule.d, {Rounding::kNearestEven, Overflow::kNone, Convention::kCuda});
}

}  // namespace

std::uint32_t mma_step(const MmaRule& rule, OperandRow a, OperandRow b, std::uint32_t c_code) {
  if (rule.accumulation == Accumulation::kFp16Halves) return step_fp16_halves(rule, a, b, c_code);
  const AccumulatorTerm c = unpack_accumulator(c_code, rule.d);
  const int products_exponent = largest_exponent(a, b, 0, rule.step_k, 1);
  if (products_exponent >= kSpecialThreshold || c.kind == NumberKind::kInf || c.kind == NumberKind::kNan)
    return sum_of_specials(rule, a, b, c);
  switch (rule.accumulation) {
    case Accumulation::kTruncated:
      return step_truncated(rule, a, b, c, products_exponent);
    case Accumulation::kExact:
      return step_exact(rule, a, b, c);
    case Accumulation::kCdna3:
    case Accumulation::kCdna3Split:
      return step_cdna3(rule, a, b, c, products_exponent);
    case Accumulation::kFp16Halves:
      break;
  }
  core::check(false, "unknown accumulation");
  return 0;
}

void mma(const MmaRule& rule, const CodeMatrix& a, const CodeMatrix& b, std::span<const std::uint32_t> c,
         std::span<std::uint32_t> d) {
  core::check(a.format == rule.a && b.format == rule.b, "mma() wants codes of the rule's operand formats");
  core::check(a.rows == b.rows && a.cols == b.cols, "mma() wants a and b of one shape");
  const auto records = static_cast<std::size_t>(a.rows);
  core::check(d.size() == records && (c.empty() || c.size() == records), "mma() wants one c and d a record");
  constexpr std::int64_t kGrain = 64;  // records a task
  const std::int64_t steps = std::max<std::int64_t>(1, (a.cols + rule.step_k - 1) / rule.step_k);
  core::parallel_for(a.rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    OperandPanel panel_a;
    OperandPanel panel_b;
    panel_a.assign(a, begin, end - begin, 0, a.cols, steps * rule.step_k);
    panel_b.assign(b, begin, end - begin, 0, b.cols, steps * rule.step_k);
    for (std::int64_t i = begin; i < end; ++i) {
      const auto record = static_cast<std::size_t>(i);
      std::uint32_t accumulator = c.empty() ? 0 : c[record];
      for (std::int64_t step = 0; step < steps; ++step)
        accumulator = mma_step(rule, panel_a.at(i - begin, step * rule.step_k),
                               panel_b.at(i - begin, step * rule.step_k), accumulator);
      d[record] = accumulator;
    }
  });
}

}  // namespace lastbit::numerics

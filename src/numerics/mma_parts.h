// What the steps of all tensor cores share: c as a term, shifts that drop bits, specials, and the output's rounding.
#pragma once

#include <algorithm>
#include <cstdint>

#include "numerics/format.h"
#include "numerics/mma.h"
#include "numerics/round.h"

namespace lastbit::numerics {

// c as a term: value = significand * 2^(exponent - fraction_bits).
struct AccumulatorTerm {
  NumberKind kind;
  bool negative;
  std::int64_t significand;
  int exponent;  // kZeroExponent unless c is a nonzero finite number
  int fraction_bits;
};
[[nodiscard]] AccumulatorTerm unpack_accumulator(std::uint32_t code, Format format);

// value * 2^shift truncated toward zero, or rounded toward -inf. To the left the product must fit 64 bits.
// Inline: they run once a product.
[[nodiscard]] inline std::int64_t shift_truncating(std::int64_t value, int shift) {
  if (shift >= 0) return value * (std::int64_t{1} << shift);
  if (shift <= -63) return 0;
  return value < 0 ? -(-value >> -shift) : value >> -shift;
}
[[nodiscard]] inline std::int64_t shift_flooring(std::int64_t value, int shift) {
  if (shift >= 0) return value * (std::int64_t{1} << shift);
  return value >> std::min(-shift, 63);
}

// What a sum of terms with Inf or NaN among them comes to, whatever their order.
struct SpecialTerms {
  bool positive_inf = false;
  bool negative_inf = false;
  bool nan = false;

  void add_inf(bool negative) { (negative ? negative_inf : positive_inf) = true; }
};
// The code of that sum in rule.d; an Inf when there is no NaN.
[[nodiscard]] std::uint32_t special_result(const MmaRule& rule, const SpecialTerms& terms);

// (negative ? -1 : 1) * value on the rule's output grid, as a code of rule.d: overflow is Inf, zero is +0.
[[nodiscard]] std::uint32_t round_output(const MmaRule& rule, bool negative, ExactMagnitude value);
// sum * 2^exponent likewise.
[[nodiscard]] std::uint32_t round_output(const MmaRule& rule, std::int64_t sum, int exponent);

}  // namespace lastbit::numerics

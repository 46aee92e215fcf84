#include "numerics/mma_parts.h"

namespace lastbit::numerics {

AccumulatorTerm unpack_accumulator(std::uint32_t code, Format format) {
  const Unpacked c = unpack(code, format);
  const int exponent = c.kind == NumberKind::kFinite ? c.exponent : kZeroExponent;
  return {c.kind, c.negative, c.significand, exponent, describe(format).fraction_bits};
}

std::uint32_t special_result(const MmaRule& rule, const SpecialTerms& terms) {
  const FormatDescriptor& d = describe(rule.d);
  if (terms.nan || (terms.positive_inf && terms.negative_inf)) return rule.nan_code;
  return (d.max_finite_code() + 1) | (terms.negative_inf ? d.sign_code() : 0);
}

std::uint32_t round_output(const MmaRule& rule, bool negative, ExactMagnitude value) {
  if (value.magnitude == 0) return 0;
  const FormatDescriptor& grid = describe(rule.output_grid);
  const std::uint64_t code = round_to_grid(grid, negative, value, rule.output_rounding, 0);
  if (code == 0) return 0;  // +0
  if (code > grid.max_finite_code()) {
    SpecialTerms terms;
    terms.add_inf(negative);
    return special_result(rule, terms);
  }
  return (static_cast<std::uint32_t>(code) | (negative ? grid.sign_code() : 0)) << grid.code_shift;
}

std::uint32_t round_output(const MmaRule& rule, std::int64_t sum, int exponent) {
  return round_output(rule, sum < 0, {static_cast<std::uint64_t>(sum < 0 ? -sum : sum), exponent, false});
}

}  // namespace lastbit::numerics

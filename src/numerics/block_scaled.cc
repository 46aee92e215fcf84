#include "numerics/block_scaled.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "numerics/mma_parts.h"

namespace lastbit::numerics {
namespace {

constexpr int kMaxGroups = 4;  // 64 / 16

// A group's term: value = significand * 2^(exponent - fraction_bits).
struct GroupTerm {
  std::int64_t significand = 0;
  int exponent = kZeroExponent;
  int fraction_bits = 0;
  bool nan = false;
};

GroupTerm group_term(const BlockScaledRule& rule, OperandRow a, OperandRow b, int first, std::uint8_t scale_a,
                     std::uint8_t scale_b) {
  const Unpacked sa = unpack(scale_a, rule.scale);
  const Unpacked sb = unpack(scale_b, rule.scale);
  GroupTerm term;
  term.nan = sa.kind == NumberKind::kNan || sb.kind == NumberKind::kNan;
  if (term.nan) return term;
  // Every E2M1 number is a multiple of 2^-1, its exponent at least 0: products add up in units of 2^-2.
  std::int64_t sum = 0;
  for (int k = first; k < first + rule.exact_group; ++k) {
    if (a.significands[k] == 0 || b.significands[k] == 0) continue;
    sum += static_cast<std::int64_t>(a.significands[k]) * b.significands[k] *
           (std::int64_t{1} << (a.exponents[k] + b.exponents[k]));
  }
  // UE4M3 has no sign: it is ignored.
  term.significand = sum * std::abs(sa.significand) * std::abs(sb.significand);
  if (term.significand != 0) term.exponent = sa.exponent + sb.exponent;
  term.fraction_bits = 2 * describe(Format::kE2M1).fraction_bits + 2 * describe(rule.scale).fraction_bits;
  return term;
}

MmaRule output_rule() {
  MmaRule rule;  // FP32 by truncation, as the rule's defaults say
  rule.a = rule.b = Format::kE2M1;
  return rule;
}

}  // namespace

std::span<const BlockScaledRule> block_scaled_rules() {
  static const std::vector<BlockScaledRule> rules{
      {"mxf4", Format::kE8M0, 32}, {"nvf4", Format::kE4M3, 16}, {"nvf4_e8m0", Format::kE8M0, 16}};
  return rules;
}

std::uint32_t block_scaled_step(const BlockScaledRule& rule, OperandRow a, OperandRow b,
                                std::span<const std::uint8_t> scales_a, std::span<const std::uint8_t> scales_b,
                                std::uint32_t c_code) {
  const auto blocks = static_cast<std::size_t>(rule.step_k / rule.block);
  const int groups = rule.step_k / rule.exact_group;
  core::check(scales_a.size() == blocks && scales_b.size() == blocks, "one scale a block of a step");
  core::check(groups <= kMaxGroups, "at most four groups a step");
  const AccumulatorTerm c = unpack_accumulator(c_code, Format::kF32);
  SpecialTerms specials;
  specials.nan = c.kind == NumberKind::kNan;
  if (c.kind == NumberKind::kInf) specials.add_inf(c.negative);

  std::array<GroupTerm, kMaxGroups> terms;
  int largest = c.exponent;
  for (int group = 0; group < groups; ++group) {
    const int first = group * rule.exact_group;
    const auto block = static_cast<std::size_t>(first / rule.block);
    GroupTerm& term = terms[static_cast<std::size_t>(group)];
    term = group_term(rule, a, b, first, scales_a[block], scales_b[block]);
    specials.nan = specials.nan || term.nan;
    largest = std::max(largest, term.exponent);
  }
  const MmaRule output = output_rule();
  if (specials.nan || c.kind == NumberKind::kInf) return special_result(output, specials);
  if (largest < kZeroThreshold) return 0;

  std::int64_t sum = 0;
  const auto add = [&](std::int64_t significand, int exponent, int fraction_bits) {
    if (significand != 0) sum += shift_truncating(significand, exponent - fraction_bits - largest + rule.fraction_bits);
  };
  for (const GroupTerm& term : terms) add(term.significand, term.exponent, term.fraction_bits);
  add(c.significand, c.exponent, c.fraction_bits);
  return round_output(output, sum, largest - rule.fraction_bits);
}

}  // namespace lastbit::numerics

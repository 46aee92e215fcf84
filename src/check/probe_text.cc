#include "check/probe_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace lastbit::check {

std::string rule_text(const numerics::UnitRow& row) {
  const bool exact = row.accumulation == numerics::Accumulation::kExact;
  std::string text = fmt::format(
      "{}, {} elements of K a step, {}, output {} {}", numerics::to_string(row.accumulation), row.step_k,
      exact ? "no bits dropped" : fmt::format("{} fraction bits", row.fraction_bits), numerics::name(row.output_grid),
      row.output_rounding == numerics::Rounding::kTowardZero ? "truncated" : "rounded to nearest");
  switch (row.accumulation) {
    case numerics::Accumulation::kTruncated:
      text += ", c aligned with the products";
      break;
    case numerics::Accumulation::kFp16Halves:
      text += ", c added afterwards";
      break;
    case numerics::Accumulation::kCdna3:
    case numerics::Accumulation::kCdna3Split:
      text += ", c not aligned with the products";
      break;
    case numerics::Accumulation::kExact:
      break;
  }
  if (row.zero_exponent) text += fmt::format(", zeros take part at exponent {}", *row.zero_exponent);
  if (row.least_alignment) text += fmt::format(", alignment at least {}", *row.least_alignment);
  return text;
}

std::string promotion_text(const std::vector<numerics::Promotion>& promotions) {
  std::vector<std::string> words;
  for (const numerics::Promotion& promotion : promotions)
    words.push_back(promotion.order == numerics::PromotionOrder::kNone
                        ? "none"
                        : fmt::format("{} every {}", numerics::to_string(promotion.order), promotion.every));
  return words.empty() ? "no order that is known gives a long K" : fmt::format("{}", fmt::join(words, " or "));
}

std::vector<std::string> known_as(const ProbeQuestion& question, const numerics::UnitRow& row) {
  std::vector<std::string> names;
  for (const numerics::Unit& unit : numerics::units())
    for (const numerics::UnitRow& other : unit.rows) {
      const auto has = [&](numerics::Format format) {
        return std::ranges::find(other.operands, format) != other.operands.end();
      };
      if (has(question.a) && has(question.b) && other.d == row.d && other.accumulation == row.accumulation &&
          other.fraction_bits == row.fraction_bits && other.step_k == row.step_k &&
          other.output_grid == row.output_grid && other.output_rounding == row.output_rounding && !row.zero_exponent &&
          !row.least_alignment)
        names.push_back(unit.name);
    }
  return names;
}

}  // namespace lastbit::check

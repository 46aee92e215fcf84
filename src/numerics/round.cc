#include "numerics/round.h"

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace lastbit::numerics {
namespace {

// What lies below the grid: the integer part q on the grid, and the discarded rest against half a grid step.
enum class Rest : std::uint8_t { kExact, kBelowHalf, kHalf, kAboveHalf };

struct Split {
  std::uint64_t quotient;
  Rest rest;
  std::uint32_t fraction32;  // the rest as a fraction of a grid step, its leading 32 bits
};

// value / 2^grid_exponent.
Split split_at(ExactMagnitude value, int grid_exponent) {
  const int shift = grid_exponent - value.exponent;
  if (shift <= 0) return {value.magnitude << -shift, value.sticky ? Rest::kBelowHalf : Rest::kExact, 0};
  const std::uint64_t quotient = shift < 64 ? value.magnitude >> shift : 0;
  const std::uint64_t rest = shift < 64 ? value.magnitude & ((std::uint64_t{1} << shift) - 1) : value.magnitude;
  if (rest == 0) return {quotient, value.sticky ? Rest::kBelowHalf : Rest::kExact, 0};
  std::uint64_t fraction = 0;
  if (shift <= 32)
    fraction = rest << (32 - shift);
  else if (shift < 96)
    fraction = rest >> (shift - 32);
  Rest kind = Rest::kBelowHalf;  // also for shift > 64: the rest is below 2^64, half a step at least that
  if (shift <= 64) {
    const std::uint64_t half = std::uint64_t{1} << (shift - 1);
    if (rest > half || (rest == half && value.sticky))
      kind = Rest::kAboveHalf;
    else if (rest == half)
      kind = Rest::kHalf;
  }
  return {quotient, kind, static_cast<std::uint32_t>(fraction)};
}

bool rounds_up(const Split& split, bool negative, Rounding rounding, std::uint32_t random_word) {
  switch (rounding) {
    case Rounding::kNearestEven:
      return split.rest == Rest::kAboveHalf || (split.rest == Rest::kHalf && (split.quotient & 1) != 0);
    case Rounding::kTowardZero:
      return false;
    case Rounding::kUp:
      return !negative && split.rest != Rest::kExact;
    case Rounding::kStochastic:
      return random_word < split.fraction32;
  }
  return false;
}

}  // namespace

std::uint64_t round_to_grid(const FormatDescriptor& format, bool negative, ExactMagnitude value, Rounding rounding,
                            std::uint32_t random_word) {
  if (value.magnitude == 0) {
    core::check(!value.sticky, "a sticky rest hangs below a nonzero magnitude");
    return 0;
  }
  const int leading = value.exponent + static_cast<int>(std::bit_width(value.magnitude)) - 1;
  const int exponent = std::max(leading, format.min_exponent());
  const Split split = split_at(value, exponent - format.fraction_bits);
  const std::uint64_t quotient = split.quotient + (rounds_up(split, negative, rounding, random_word) ? 1 : 0);
  // A normal number's quotient carries its hidden bit: added to the field below, it makes the exponent field right,
  // also when rounding carries into the next binade or out of the subnormals.
  return (static_cast<std::uint64_t>(exponent - format.min_exponent()) << format.fraction_bits) + quotient;
}

}  // namespace lastbit::numerics

// Rounding of an exact binary number to a format's grid: the one place where bits are dropped on conversion.
#pragma once

#include <cstdint>

#include "numerics/format.h"

namespace lastbit::numerics {

// A nonnegative number magnitude * 2^exponent, plus something in (0, 2^exponent) when `sticky`.
struct ExactMagnitude {
  std::uint64_t magnitude;
  int exponent;
  bool sticky;
};

// The magnitude's code on the grid of `format` continued without end beyond the largest finite number (so a result
// above max_finite_code() is an overflow), before code_shift and without sign. `negative` matters to kUp alone.
// Not for E8M0, whose grid has no subnormals.
[[nodiscard]] std::uint64_t round_to_grid(const FormatDescriptor& format, bool negative, ExactMagnitude value,
                                          Rounding rounding, std::uint32_t random_word);

}  // namespace lastbit::numerics

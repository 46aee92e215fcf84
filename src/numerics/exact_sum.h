// Sums of floating-point products without any rounding, in one wide fixed-point number (a Kulisch accumulator).
#pragma once

#include <array>
#include <cstdint>

#include "numerics/round.h"

namespace lastbit::numerics {

// 640 bits of two's complement, the lowest worth 2^-300. Wide enough for the formats here: the least product is
// TF32's (2^-136)^2 = 2^-272, the largest BF16's 2^256, and 2^83 of those may be added before the top bit is reached.
class ExactSum {
 public:
  // Adds significand * 2^exponent. An internal error if that has bits outside the range above.
  void add(std::int64_t significand, int exponent);

  [[nodiscard]] bool is_zero() const;
  [[nodiscard]] bool is_negative() const { return (limbs_.back() >> 63) != 0; }
  // The magnitude's leading 64 bits, and whether anything lies below them.
  [[nodiscard]] ExactMagnitude magnitude() const;

 private:
  static constexpr int kLimbs = 10;
  static constexpr int kLowestExponent = -300;
  std::array<std::uint64_t, kLimbs> limbs_{};  // least significant first
};

}  // namespace lastbit::numerics

// The lanes of the vectorised GEMM: which rules fit which, and how exponents become bytes there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "numerics/mma.h"

namespace lastbit::numerics {

// Each kind: the type of its lanes; the exponents of operands that it takes; what is added to E in bytes; the lower
// clamp of E; what zeros are packed as.
struct FloatLanes {
  using Value = float;
  static constexpr int kLeastExponent = -14;
  static constexpr int kMostExponent = 15;
  static constexpr int kCodeOfZero = 127;  // the exponent field of 2^E
  static constexpr int kLeastE = -32;
  static constexpr float kZero = 0x1p-63F;
};
struct DoubleLanes {
  using Value = double;
  static constexpr int kLeastExponent = -60;
  static constexpr int kMostExponent = 50;
  static constexpr int kCodeOfZero = 121;
  static constexpr int kLeastE = -121;
  static constexpr double kZero = 0x1p-400;
};
// Bytes whose difference, saturating at 0, is E + kCodeOfZero for nonzero a and b, and 0 when either is zero.
template <typename L>
constexpr std::uint32_t kByteOfA = L::kMostExponent + L::kCodeOfZero;  // + exponent
template <typename L>
constexpr std::uint32_t kByteOfB = L::kMostExponent;  // - exponent
constexpr std::uint32_t kZeroByteOfB = 255;           // of A: 0

// Planes of exponent bits shifted by 0 to 3; after them an empty one.
constexpr std::size_t kPlanes = 5;

// FP8 products on a grid of 13 bits.
inline bool fits_float(const MmaRule& rule) {
  const auto fp8 = [](Format format) { return format == Format::kE4M3 || format == Format::kE5M2; };
  return fp8(rule.a) && fp8(rule.b) && rule.fraction_bits <= 13 && rule.output_grid == Format::kE8M13;
}

}  // namespace lastbit::numerics

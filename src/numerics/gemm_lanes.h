// Float and double lanes of the vectorised GEMM: which rules fit which, and how exponents become bytes there.
#pragma once

#include <cstdint>

#include "numerics/mma.h"

namespace lastbit::numerics {

// Constants of the lanes of type T.
template <typename T>
struct LaneLimits;
template <>
struct LaneLimits<float> {
  static constexpr int kFractionBits = 23;
  static constexpr int kLeastExponent = -14;  // of operands
  static constexpr int kMostExponent = 15;
  static constexpr int kCodeOfZero = 127;  // of E: the exponent field of 2^E
  static constexpr int kLeastE = -32;
  static constexpr float kZero = 0x1p-63F;
};
template <>
struct LaneLimits<double> {
  static constexpr int kFractionBits = 52;
  static constexpr int kLeastExponent = -60;
  static constexpr int kMostExponent = 50;
  static constexpr int kCodeOfZero = 121;
  static constexpr int kLeastE = -121;
  static constexpr double kZero = 0x1p-400;
};

// Bytes whose difference, saturating at 0, is E + kCodeOfZero for nonzero a and b, and 0 when either is zero.
template <typename T>
constexpr std::uint32_t kByteOfA = LaneLimits<T>::kMostExponent + LaneLimits<T>::kCodeOfZero;  // + exponent
template <typename T>
constexpr std::uint32_t kByteOfB = LaneLimits<T>::kMostExponent;  // - exponent
constexpr std::uint32_t kZeroByteOfB = 255;                       // of A: 0

// Planes of exponent bytes shifted by 0 to 7; after them an empty one.
constexpr std::int64_t kPlanes = 8;

// The narrow lanes have this rule; all others that are vectorised take the wide ones.
inline bool fits_float(const MmaRule& rule) {
  const auto fp8 = [](Format format) { return format == Format::kE4M3 || format == Format::kE5M2; };
  return fp8(rule.a) && fp8(rule.b) && rule.fraction_bits <= 13 && rule.output_grid == Format::kE8M13;
}

}  // namespace lastbit::numerics

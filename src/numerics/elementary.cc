#include "numerics/elementary.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "numerics/angle.h"
#include "numerics/elementary_terms.h"

namespace lastbit::numerics {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Horner's rule; coefficients from the constant term up.
template <std::size_t N>
double polynomial(const std::array<double, N>& coefficients, double x) {
  double value = coefficients[N - 1];
  for (std::size_t i = N - 1; i-- > 0;) value = value * x + coefficients[i];
  return value;
}

double power_of_two(int exponent) {  // -1022 <= exponent <= 1023
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

// sin and cos of |r| <= pi/4: Taylor series to r^17 and r^18, truncation below 2^-60.
double sin_kernel(double r) {
  static constexpr auto kTerms = inverse_factorials<8>(3, 2, true);
  if (r == 0) return r;  // keeps the sign of zero
  const double square = r * r;
  return r - r * square * polynomial(kTerms, square);
}

double cos_kernel(double r) {
  static constexpr auto kTerms = inverse_factorials<8>(4, 2, true);
  const double square = r * r;
  return 1 - (0.5 * square - square * square * polynomial(kTerms, square));
}

bool is_finite(double x) { return x - x == 0; }

}  // namespace

double exp(double x) {
  if (x != x) return kNan;
  if (x > 709.8) return kInfinity;
  if (x < -745.2) return 0;
  const double scaled = x * kLog2E;
  const int k = static_cast<int>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
  const double r = (x - k * kLn2High) - k * kLn2Low;  // |r| <= 0.3466
  const double value = 1 + (r + r * r * polynomial(kExpTerms, r));
  // In two factors, since 2^k alone may overflow or be subnormal; the second product rounds once at most.
  const int half = k / 2;
  return value * power_of_two(half) * power_of_two(k - half);
}

double log(double x) {
  if (x != x || x < 0) return kNan;
  if (x == kInfinity) return x;
  if (x == 0) return -kInfinity;
  int exponent = 0;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    exponent = -54;
  }
  const auto bits = std::bit_cast<std::uint64_t>(x);
  exponent += static_cast<int>(bits >> 52) - 1023;
  double mantissa = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u);
  if (mantissa > 0x1.6a09e667f3bcdp+0) {  // sqrt(2): keep the mantissa within [sqrt(1/2), sqrt(2)]
    mantissa *= 0.5;
    exponent += 1;
  }
  // log(1 + f) = 2 artanh(s), s = f / (2 + f), |s| <= 0.1716: odd series to s^23, truncation below 2^-61. Written as
  // f - s (f - rest) so that the leading term is exact.
  static constexpr std::array<double, 11> kTerms = {2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11, 2.0 / 13,
                                                    2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21, 2.0 / 23};
  const double f = mantissa - 1;
  const double s = f / (2 + f);
  const double square = s * s;
  const double rest = square * polynomial(kTerms, square);
  return exponent * kLn2High + (f - (s * (f - rest) - exponent * kLn2Low));
}

SineAndCosine sin_cos(double x) {
  if (!is_finite(x)) return {kNan, kNan};
  const ReducedAngle angle = reduce_angle(x);
  const double sine = sin_kernel(angle.remainder);
  const double cosine = cos_kernel(angle.remainder);
  const bool turned = (angle.quadrant & 1) != 0;
  const double along = turned ? cosine : sine;
  const double across = turned ? sine : cosine;
  return {(angle.quadrant & 2) != 0 ? -along : along, angle.quadrant == 1 || angle.quadrant == 2 ? -across : across};
}

double sin(double x) {
  if (!is_finite(x)) return kNan;
  const ReducedAngle angle = reduce_angle(x);
  const double value = (angle.quadrant & 1) != 0 ? cos_kernel(angle.remainder) : sin_kernel(angle.remainder);
  return (angle.quadrant & 2) != 0 ? -value : value;
}

double cos(double x) {
  if (!is_finite(x)) return kNan;
  const ReducedAngle angle = reduce_angle(x);
  const double value = (angle.quadrant & 1) != 0 ? sin_kernel(angle.remainder) : cos_kernel(angle.remainder);
  return angle.quadrant == 1 || angle.quadrant == 2 ? -value : value;
}

double tanh(double x) {
  if (x != x) return kNan;
  const double magnitude = x < 0 ? -x : x;
  if (magnitude > 22) return x < 0 ? -1 : 1;  // 2 exp(-44) is below half an ulp of 1
  if (magnitude > 1) {
    const double value = 1 - 2 / (exp(2 * magnitude) + 1);
    return x < 0 ? -value : value;
  }
  // sinh / cosh by their series to x^19 and x^20, so that small arguments keep their relative accuracy.
  static constexpr auto kSinh = inverse_factorials<9>(3, 2, false);
  static constexpr auto kCosh = inverse_factorials<10>(2, 2, false);
  const double square = x * x;
  return (x + x * square * polynomial(kSinh, square)) / (1 + square * polynomial(kCosh, square));
}

double pow(double x, double y) { return exp(y * log(x)); }

double rsqrt(double x) { return 1 / std::sqrt(x); }

double sigmoid(double x) {
  if (x < -700) return exp(x);  // before exp(-x) overflows; 1 is nothing beside it
  return 1 / (1 + exp(-x));
}

double silu(double x) {
  if (x != x) return kNan;
  if (x < -800) return -0.0;  // 800 exp(-800) is below the smallest subnormal
  if (x < -700) {             // as above, but exp(x) may be subnormal where the product is not
    const double root = exp(0.5 * x);
    return x * root * root;
  }
  return x / (1 + exp(-x));
}

float exp(float x) { return static_cast<float>(exp(static_cast<double>(x))); }
float log(float x) { return static_cast<float>(log(static_cast<double>(x))); }
float sin(float x) { return static_cast<float>(sin(static_cast<double>(x))); }
float cos(float x) { return static_cast<float>(cos(static_cast<double>(x))); }
float tanh(float x) { return static_cast<float>(tanh(static_cast<double>(x))); }
float rsqrt(float x) {
  const double value = 1 / std::sqrt(static_cast<double>(x));
  return static_cast<float>(value == value ? value : kNan);
}
float sigmoid(float x) { return static_cast<float>(sigmoid(static_cast<double>(x))); }

float silu(float x) {
  if (x != x) return std::numeric_limits<float>::quiet_NaN();
  // Written as a product for negative x: the quotient x / (1 + exp(-x)) would overflow its divisor at -inf.
  if (x < kSiluIsZero) return -0.0F;
  return static_cast<float>(x / (1 + exp(-static_cast<double>(x))));
}

}  // namespace lastbit::numerics

// Constants that the scalar and the vectorised elementary functions share, and with them their bits.
#pragma once

#include <array>
#include <cstddef>

namespace lastbit::numerics {

// ln 2 in two parts; the first has 32 significant bits, so that its product with an exponent is exact.
inline constexpr double kLn2High = 0x1.62e42feep-1;
inline constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
inline constexpr double kLog2E = 0x1.71547652b82fep+0;

// scale / k!, signs alternating when asked for, for k = first, first + step, ...: the terms of a Taylor series.
template <std::size_t N>
constexpr std::array<double, N> inverse_factorials(int first, int step, bool alternating) {
  std::array<double, N> terms{};
  for (std::size_t i = 0; i < N; ++i) {
    double factorial = 1;  // exact up to 22!, all that is asked for
    for (int k = 2; k <= first + step * static_cast<int>(i); ++k) factorial *= k;
    terms[i] = (alternating && i % 2 == 1 ? -1.0 : 1.0) / factorial;
  }
  return terms;
}

// (exp(r) - 1 - r) / r^2 to r^14: truncation below 2^-61 for |r| <= 0.3466.
inline constexpr auto kExpTerms = inverse_factorials<13>(2, 1, false);

// Below -200, x sigmoid(x) is smaller than the smallest subnormal float.
inline constexpr float kSiluIsZero = -200;

}  // namespace lastbit::numerics

// FP16 codes in kernels.
#pragma once

#include <cstdint>

#include "kernels/simt/cuda.h"

namespace lastbit::kernels {

// To nearest even; beyond the largest number Inf; a NaN is 0x7fff.
__device__ inline std::uint16_t f16_code(float value) {
  const unsigned bits = __float_as_uint(value);
  const unsigned sign = bits >> 16 & 0x8000U;
  const unsigned magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return 0x7fff;
  unsigned code = 0;
  if (magnitude >= 0x38800000U) {  // 2^-14, the least normal number
    const unsigned rounded = magnitude + 0xfffU + (magnitude >> 13 & 1U);
    code = min((rounded >> 13) - (112U << 10), 0x7c00U);
  } else {
    constexpr unsigned kAnchor = 126U << 23;  // 2^-1: its unit in the last place is 2^-24
    code = __float_as_uint(__fadd_rn(__uint_as_float(magnitude), __uint_as_float(kAnchor))) - kAnchor;
  }
  return static_cast<std::uint16_t>(sign | code);
}

}  // namespace lastbit::kernels

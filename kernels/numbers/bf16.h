// BF16 codes in kernels.
#pragma once

#include <cstdint>

#include "kernels/simt/cuda.h"

namespace lastbit::kernels {

__device__ inline float bf16_value(std::uint16_t code) { return __uint_as_float(static_cast<unsigned>(code) << 16); }

// To nearest even; a NaN is 0x7fff.
__device__ inline std::uint16_t bf16_code(float value) {
  const unsigned bits = __float_as_uint(value);
  const unsigned rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
  return static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? 0x7fffU : rounded);
}

__device__ inline float round_bf16(float value) { return bf16_value(bf16_code(value)); }

}  // namespace lastbit::kernels

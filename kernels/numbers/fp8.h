// E4M3 and E5M2 codes in kernels, by integer operations: any GPU.
#pragma once

#include <cstdint>

#include "kernels/simt/cuda.h"

namespace lastbit::kernels {

struct Fp8Format {
  int fraction_bits;
  int bias;
  unsigned max_code;  // without sign
  float largest;
};
__host__ __device__ constexpr Fp8Format fp8_format(bool e5m2) {
  return e5m2 ? Fp8Format{2, 15, 0x7b, 57344} : Fp8Format{3, 7, 0x7e, 448};
}

// To nearest even, saturating, a NaN 0x7f, as CUDA's own casts.
__device__ inline std::uint8_t fp8_code(float value, const Fp8Format& format) {
  const unsigned bits = __float_as_uint(value);
  const unsigned sign = bits >> 24 & 0x80U;
  const unsigned magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return 0x7f;
  const int drop = 23 - format.fraction_bits;
  unsigned code = 0;
  if (static_cast<int>(magnitude >> 23) - 127 + format.bias >= 1) {
    const unsigned rounded = magnitude + (1U << (drop - 1)) - 1 + (magnitude >> drop & 1U);
    code = (rounded >> drop) - (static_cast<unsigned>(127 - format.bias) << format.fraction_bits);
  } else {
    // A sum whose unit in the last place is the format's least subnormal rounds as asked.
    const unsigned anchor = static_cast<unsigned>(127 + drop + 1 - format.bias) << 23;
    code = __float_as_uint(__fadd_rn(__uint_as_float(magnitude), __uint_as_float(anchor))) - anchor;
  }
  return static_cast<std::uint8_t>(sign | min(code, format.max_code));
}

// A code as significand * 2^(exponent - fraction_bits), with the least exponent for subnormals.
struct Fp8Parts {
  int significand;  // with its sign
  int exponent;
  bool special;  // Inf or NaN: `significand` is 0 for NaN, else +1 or -1
};
__device__ inline Fp8Parts fp8_parts(unsigned code, const Fp8Format& format) {
  const unsigned magnitude = code & 0x7fU;
  const int field = static_cast<int>(magnitude >> format.fraction_bits);
  const int fraction = static_cast<int>(magnitude & ((1U << format.fraction_bits) - 1));
  const int negative = (code & 0x80U) != 0 ? -1 : 1;
  if (magnitude > format.max_code) return {fraction == 0 ? negative : 0, 0, true};
  const int significand = field == 0 ? fraction : fraction + (1 << format.fraction_bits);
  return {negative * significand, max(field, 1) - format.bias, false};
}

}  // namespace lastbit::kernels

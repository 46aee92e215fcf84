// What a tile is quantised by, in kernels: numerics/quantize.cc's scale_of().
#pragma once

#include <cfloat>

#include "kernels/numbers/bf16.h"
#include "kernels/numbers/fp8.h"
#include "kernels/quantize/quantize.h"

namespace lastbit::kernels {

constexpr int kTileWidth = 128;

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

__device__ inline Fp8Format format_of(const QuantizeRule& rule) { return fp8_format(rule.e5m2); }

struct TileScale {
  float scale;
  float factor;  // a divisor, or with QuantizeRule::reciprocal a multiplier
};

__device__ inline TileScale tile_scale(float amax, const QuantizeRule& rule) {
  const float largest = format_of(rule).largest;
  if (rule.epsilon) amax = fmaxf(amax, rule.amax_epsilon);
  float scale = __fdiv_rn(amax, largest);
  if (scale == 0) return {1, 1};
  if (rule.power) {
    const unsigned bits = __float_as_uint(scale);
    const unsigned exponent = (bits >> 23) + ((bits & 0x7fffffU) != 0 ? 1U : 0U);
    scale = __uint_as_float(min(max(exponent, 1U), 254U) << 23);
  }
  if (!rule.reciprocal) return {scale, scale};
  return {scale, rule.power ? __fdiv_rn(1, scale) : fminf(__fdiv_rn(largest, amax), FLT_MAX)};
}

__device__ inline std::uint8_t tile_code(float x, const TileScale& tile, const QuantizeRule& rule) {
  return fp8_code(rule.reciprocal ? __fmul_rn(x, tile.factor) : __fdiv_rn(x, tile.factor), format_of(rule));
}

__device__ inline float input_value(const QuantizeInput& input, std::size_t at) {
  return input.bf16 ? bf16_value(static_cast<const std::uint16_t*>(input.x)[at])
                    : static_cast<const float*>(input.x)[at];
}

// The largest over the lanes of a warp.
__device__ inline float warp_max(float value) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, lanes));
  return value;
}

}  // namespace lastbit::kernels

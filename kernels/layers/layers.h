// RMSNorm, rotary embedding and SwiGLU on BF16 codes, computed in FP32. Arrays are the device's, row-major; each
// function launches one kernel; errors as launch().
#pragma once

#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

// y = weight * x / sqrt(mean(x^2) + eps) over rows: x and y [tokens, d], weight [d].
void rms_norm(const std::uint16_t* x, const std::uint16_t* weight, int tokens, int d, float eps, std::uint16_t* y,
              Version version);

enum class RopeLayout : std::uint8_t {
  kHalfSplit,            // pairs (j, j + dim/2)
  kInterleaved,          // pairs (2j, 2j + 1)
  kInterleavedToHalves,  // the latter, moved to (j, j + dim/2)
};
// Pairs (a, b) become (a cos - b sin, b cos + a sin): x and y [tokens, heads, dim], cos and sin FP32 [tokens, dim/2].
struct RopeShape {
  int tokens;
  int heads;
  int dim;          // even
  int head_stride;  // elements from a head to the next, of x and of y: more than dim where heads are turned in part
};
void rope(const std::uint16_t* x, const float* cosines, const float* sines, const RopeShape& shape, RopeLayout layout,
          std::uint16_t* y, Version version);

// y = silu(gate) * up, [count] each.
void swiglu(const std::uint16_t* gate, const std::uint16_t* up, int count, std::uint16_t* y, Version version);

}  // namespace lastbit::kernels

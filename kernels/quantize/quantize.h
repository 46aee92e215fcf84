// Block-scaled quantisers: codes of FP8 and one FP32 scale a tile, by the rules of numerics/quantize.h.
//
// Arrays are the device's, row-major. Each function launches one kernel; errors as launch().
#pragma once

#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

struct QuantizeRule {
  bool e5m2 = false;        // or E4M3
  bool power = false;       // scales rounded up to powers of two (UE8M0)
  bool reciprocal = false;  // multiplies by largest / amax instead of dividing by the scale
  bool epsilon = false;     // amax is at least amax_epsilon; otherwise the scale of zeros is 1
  float amax_epsilon = 1e-4F;
};

// x [rows, cols] of BF16 codes or FP32 values.
struct QuantizeInput {
  const void* x;
  bool bf16;
  int rows;
  int cols;
};

// codes [rows, cols], scales [rows, ceil(cols / 128)].
void quantize_1x128(const QuantizeInput& input, const QuantizeRule& rule, std::uint8_t* codes, float* scales,
                    Version version);
// Of the transposed matrix, tiles along its rows: codes [cols, rows], scales [cols, ceil(rows / 128)].
void quantize_1x128_transposed(const QuantizeInput& input, const QuantizeRule& rule, std::uint8_t* codes, float* scales,
                               Version version);
// codes [rows, cols], scales [ceil(rows / 128), ceil(cols / 128)]; `transposed`: [cols, rows] and the scales likewise.
void quantize_128x128(const QuantizeInput& input, const QuantizeRule& rule, bool transposed, std::uint8_t* codes,
                      float* scales, Version version);
// silu(gate) * up of BF16 codes [rows, cols], rounded to BF16 where `round_product`, then as quantize_1x128.
void swiglu_quantize_1x128(const std::uint16_t* gate, const std::uint16_t* up, int rows, int cols, bool round_product,
                           const QuantizeRule& rule, std::uint8_t* codes, float* scales, Version version);

}  // namespace lastbit::kernels

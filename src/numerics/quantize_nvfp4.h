// NVFP4: E2M1 codes, an E4M3 scale for each 16 of a row, and one FP32 scale a tensor.
//
// As NVIDIA TransformerEngine's reference does, every operation rounded to FP32:
//   s_enc = 448 * 6 / amax of the tensor, at most the largest FP32 number; 1 for a tensor of zeros
//   scale of a block = E4M3(amax of the block / 6 * s_enc), saturating
//   q = E2M1(x * min(1 / (block scale * (1 / s_enc)), largest FP32 number)), nearest even, saturating
// and x ~ q * block scale * tensor_scale, with tensor_scale = 1 / s_enc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "numerics/quantize.h"

namespace lastbit::numerics {

inline constexpr std::int64_t kNvfp4Block = 16;

struct QuantizedNvfp4 {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<std::byte> codes;            // [rows, cols], one E2M1 code a byte
  std::vector<std::uint8_t> block_scales;  // [rows, ceil(cols / 16)], E4M3 codes
  float tensor_scale = 1;
};

// Errors (bad input): an Inf or NaN, with its place; `what` names the matrix. The bits depend neither on the number of
// threads nor on the instruction set.
[[nodiscard]] QuantizedNvfp4 quantize_nvfp4(const FloatMatrix& matrix, const std::string& what);

// RN(code * block scale * tensor_scale), [rows, cols].
[[nodiscard]] std::vector<float> dequantize_nvfp4(const QuantizedNvfp4& quantized);

}  // namespace lastbit::numerics

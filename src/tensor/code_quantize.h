// Quantisation of arrays that come from outside to codes with scales, and back: the kinds of numerics/quantize.h and
// NVFP4 (numerics/quantize_nvfp4.h) by name.
#pragma once

#include <optional>
#include <string>

#include "tensor/tensor.h"

namespace lastbit::tensor {

// What the names stand for is in numerics/quantize.h. NVFP4 has its own tiles, scales and method: only `format` counts.
struct QuantizeRequest {
  std::string format = "e4m3";  // e4m3, e5m2, e2m1 or nvfp4
  std::string tile = "1x128";   // ROWSxCOLS, row, tensor, or mx: 1x32 with UE8M0 scales
  std::string scale = "fp32";   // fp32 or ue8m0
  std::string method = "division";
  std::string zero_block = "one";
  float epsilon = 1e-4F;
  bool transpose = false;  // the transposed matrix: codes [cols, rows], tiles of those; not with nvfp4
};

struct QuantizedTensor {
  Tensor codes;                             // [rows, cols] U8
  Tensor scales;                            // F32, one a tile; nvfp4: U8, E4M3 codes
  std::optional<Tensor> tensor_scale = {};  // nvfp4: F32 [1]
};

// x: [rows, cols] F32. Errors (bad input), in which `what` names x: its dtype or rank, an element that is not finite,
// an unknown name.
[[nodiscard]] QuantizedTensor quantize(const Tensor& x, const QuantizeRequest& request, const std::string& what);

// What the arrays of a dequantisation are called in messages.
struct QuantizedNames {
  std::string codes;
  std::string scales;
  std::string tensor_scale;
};
// RN(code * scale) in F32, [rows, cols]. Codes of `format` as code_matrix() takes them. Errors (bad input): dtypes,
// shapes, scales that are not positive and finite, a tensor's scale without nvfp4 or nvfp4 without one.
[[nodiscard]] Tensor dequantize(const QuantizedTensor& quantized, const std::string& format, const std::string& tile,
                                const QuantizedNames& names);

}  // namespace lastbit::tensor

// E5M6 with one power-of-two scale a 1 x 128 tile: how the DeepSeek-V3 report (arXiv 2412.19437, section 3.5.2) keeps
// the input of the linear layer after attention for the backward pass.
#pragma once

#include <string>
#include <vector>

#include "numerics/quantize.h"

namespace lastbit::numerics {

// q = RN(x / s), s = amax / 65024 (E5M6's largest number) rounded up to a power of two, 1 for a tile of zeros; codes of
// two bytes each. The report gives neither the bias nor the scale's rule: see format.h. Errors (bad input): an Inf or
// NaN, with its place; `what` names the matrix.
[[nodiscard]] Quantized quantize_e5m6(const FloatMatrix& matrix, const std::string& what);

// q * s, exact.
[[nodiscard]] std::vector<float> dequantize_e5m6(const Quantized& quantized);

}  // namespace lastbit::numerics

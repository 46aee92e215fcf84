// Products of the policy fp8-h800, forward (ops/policies.cc): E4M3 codes of activations by 1 x 128 tiles and of weights
// by 128 x 128, summed as an H800's tensor core does and promoted every 128. By integers, so on any GPU, and with the
// reference's bits where the operands have them.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/device/pass.h"

namespace lastbit::device {

// Whether the policy multiplies with a weight so: attention's projections, dense FFN, shared and routed experts.
[[nodiscard]] bool multiplied_in_fp8(const std::string& weight);

// Room for a weight's codes and scales, and what goes there from its values.
void allocate_fp8(Parameter& weight, Runtime& runtime);
void quantize_fp8(const Parameter& weight, Runtime& runtime);

// y [rows, out] BF16 of x [rows, in] BF16. `offsets` of experts, or an array without elements.
void fp8_linear(const Pass& pass, const Array& x, std::int64_t rows, const Array& offsets, const Parameter& weight,
                const Array& y);

}  // namespace lastbit::device

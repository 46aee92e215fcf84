// The contracts of contract_registry(), by the file that has them, and what these files share.
#pragma once

#include <string>
#include <vector>

#include "check/contract.h"

namespace lastbit::check {

[[nodiscard]] std::vector<Contract> gemm_contracts();
[[nodiscard]] std::vector<Contract> quantize_contracts();
[[nodiscard]] std::vector<Contract> layer_contracts();
[[nodiscard]] std::vector<Contract> attention_contracts();
[[nodiscard]] std::vector<Contract> router_contracts();
[[nodiscard]] std::vector<Contract> expert_contracts();
[[nodiscard]] std::vector<Contract> gradient_contracts();
[[nodiscard]] std::vector<Contract> routing_gradient_contracts();
[[nodiscard]] std::vector<Contract> training_contracts();

// Values of input_families() as a tensor of a float dtype; `purpose` names the array.
[[nodiscard]] tensor::Tensor draw_values(const std::string& family, tensor::DType dtype, tensor::Shape shape,
                                         std::uint64_t seed, const std::string& purpose);
// The same families for what activations are, numbers near 1 in FP32 or BF16: sparse, zero_rows and zero_blocks are
// normal beside their zeros, outlier has channels 64 times as large, one in 29.
[[nodiscard]] tensor::Tensor draw_activations(const std::string& family, tensor::DType dtype, tensor::Shape shape,
                                              std::uint64_t seed, const std::string& purpose);
// The dtype of this name. Errors: an internal error for a name that no contract has.
[[nodiscard]] tensor::DType dtype_named(const std::string& name);
[[nodiscard]] const tensor::Tensor& input(const tensor::NamedTensors& inputs, const std::string& name);
// An array of BF16 or FP32 as FP32 or FP64 values.
[[nodiscard]] std::vector<float> floats_of(const tensor::Tensor& tensor);
[[nodiscard]] tensor::Tensor wide(const tensor::Tensor& tensor);  // F64
// FP32 values rounded to nearest even in a float dtype.
[[nodiscard]] tensor::Tensor rounded(const std::vector<double>& values, tensor::DType dtype, tensor::Shape shape);
// `value` rounded once to nearest even in a float dtype.
[[nodiscard]] double nearest(double value, tensor::DType dtype);
// How far the rounding of a number within `error` of `exact` may be from nearest(exact): 0 but near the boundary
// between two roundings. So a kernel that rounds in another way is told from one whose sums are in another order.
[[nodiscard]] float rounding_bound(double exact, double error, tensor::DType dtype);
// One unit in the last place of `dtype` at |value|, at least its least subnormal; rounding an exact value to `dtype`
// is off by at most half of it.
[[nodiscard]] double unit_in_last_place(double value, tensor::DType dtype);

inline constexpr double kUnitF32 = 0x1p-24;  // half an ulp of FP32, relative

}  // namespace lastbit::check

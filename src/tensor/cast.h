// Conversions between the float dtypes of tensors.
#pragma once

#include <optional>

#include "numerics/format.h"
#include "tensor/tensor.h"

namespace lastbit::tensor {

// The numerics format of a dtype's codes: none for F64, integers and bool.
[[nodiscard]] std::optional<numerics::Format> format_of(DType dtype);

// The same shape in FP32, row-major: exact for FP8, E8M0, FP16 and BF16; FP64 is rounded to nearest even. An FP32
// tensor comes back as it is (its bytes shared). Errors: an integer or bool tensor is an internal error.
[[nodiscard]] Tensor to_f32(const Tensor& tensor);

// The same shape in a float dtype. Values go through FP32 (so FP64 to an 8- or 16-bit format rounds twice), then
// numerics::encode with `options`, by default numerics::default_encode_options of the target. Errors: as to_f32.
[[nodiscard]] Tensor cast(const Tensor& tensor, DType dtype);
[[nodiscard]] Tensor cast(const Tensor& tensor, DType dtype, const numerics::EncodeOptions& options);

}  // namespace lastbit::tensor

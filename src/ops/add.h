#pragma once

#include "tensor/tensor.h"

namespace lastbit::ops {

// a + b, element by element, of one shape and type, FP32 or FP64: residuals. Its gradient is dy for both.
[[nodiscard]] tensor::Tensor add(const tensor::Tensor& a, const tensor::Tensor& b);

// target += x, element by element, of one shape and type, FP32 or FP64: gradients of a tensor that was used twice.
void accumulate(tensor::Tensor& target, const tensor::Tensor& x);

}  // namespace lastbit::ops

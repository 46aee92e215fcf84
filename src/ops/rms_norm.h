#pragma once

#include "tensor/tensor.h"

namespace lastbit::ops {

// y = weight * (x / sqrt(mean(x^2) + eps)) over the last axis: x [..., d], weight [d], FP32. The mean in the fixed
// order of numerics/reduce.h; 1/sqrt rounded once; two products. Source: Zhang and Sennrich, arXiv 1910.07467.
[[nodiscard]] tensor::Tensor rms_norm(const tensor::Tensor& x, const tensor::Tensor& weight, double eps);

}  // namespace lastbit::ops

#pragma once

#include "tensor/tensor.h"

namespace lastbit::ops {

// y = weight * (x / sqrt(mean(x^2) + eps)) over the last axis: x [..., d], weight [d], all FP32 or all FP64. The mean
// in the fixed order of numerics/reduce.h; 1/sqrt rounded once; two products. Source: Zhang and Sennrich, arXiv
// 1910.07467.
[[nodiscard]] tensor::Tensor rms_norm(const tensor::Tensor& x, const tensor::Tensor& weight, double eps);

// The gradients of rms_norm for dy [..., d]. With s = 1 / sqrt(mean(x^2) + eps) as in the forward pass, n = x s and
// g = dy weight, each rounded: dx = s (g - n (dot(g, n) / d)), the dot product by numerics::dot. dweight [d] gets the
// sum over rows of dy n added to it once: rows ascending within blocks of 32, from zero, then blocks ascending.
// Errors: shapes or types that differ are internal errors.
[[nodiscard]] tensor::Tensor rms_norm_backward(const tensor::Tensor& dy, const tensor::Tensor& x,
                                               const tensor::Tensor& weight, double eps, tensor::Tensor& dweight);

}  // namespace lastbit::ops

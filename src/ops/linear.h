#pragma once

#include "ops/numerics.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// y = x W^T (+ bias): x [..., in], weight [out, in], bias null or [out], all FP32; y [..., out]. Each output is one
// numerics::dot, then one addition of the bias: independent of the other rows and of the number of threads.
[[nodiscard]] tensor::Tensor linear(const tensor::Tensor& x, const tensor::Tensor& weight, const Numerics& numerics,
                                    const tensor::Tensor* bias = nullptr);

}  // namespace lastbit::ops

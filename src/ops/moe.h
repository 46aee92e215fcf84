#pragma once

#include <vector>

#include "ops/numerics.h"
#include "ops/router.h"
#include "ops/swiglu.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// The routed experts' part: sum over a token's experts, ascending, of weight * expert(x). x [tokens, d] FP32,
// routing of these tokens. Dropless: tokens are gathered by expert, every expert runs once on all of its own.
[[nodiscard]] tensor::Tensor routed_experts(const tensor::Tensor& x, const Routing& routing,
                                            const std::vector<SwigluWeights>& experts, const Numerics& numerics);

// a + b, element by element, FP32 of one shape.
[[nodiscard]] tensor::Tensor add(const tensor::Tensor& a, const tensor::Tensor& b);

}  // namespace lastbit::ops

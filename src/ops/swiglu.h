#pragma once

#include "tensor/tensor.h"

namespace lastbit::ops {

// silu(gate) * up, element by element, both [..., width], FP32 or FP64: silu by numerics::silu, one product. Source:
// Shazeer, arXiv 2002.05202.
[[nodiscard]] tensor::Tensor swiglu(const tensor::Tensor& gate, const tensor::Tensor& up);

struct SwigluGradients {
  tensor::Tensor dgate;
  tensor::Tensor dup;
};

// The gradients of swiglu for dy [..., width], all of one shape and type. With a = silu(gate) as in the forward pass
// and s = numerics::sigmoid(gate), every operation rounded: dup = dy a and dgate = (dy up) (s + a (1 - s)).
[[nodiscard]] SwigluGradients swiglu_backward(const tensor::Tensor& dy, const tensor::Tensor& gate,
                                              const tensor::Tensor& up);

}  // namespace lastbit::ops

#pragma once

#include "ops/numerics.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// gate, up: [width, d]; down: [d, width]; FP32.
struct SwigluWeights {
  tensor::Tensor gate;
  tensor::Tensor up;
  tensor::Tensor down;
};

// silu(gate) * up, element by element, both [..., width]. Source: Shazeer, arXiv 2002.05202.
[[nodiscard]] tensor::Tensor swiglu(const tensor::Tensor& gate, const tensor::Tensor& up);

// down(silu(gate x) * up x): x [..., d] -> [..., d].
[[nodiscard]] tensor::Tensor swiglu_ffn(const tensor::Tensor& x, const SwigluWeights& weights,
                                        const Numerics& numerics);

}  // namespace lastbit::ops

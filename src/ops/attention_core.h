#pragma once

#include <cstdint>

#include "ops/numerics.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// Softmax(scale Q K^T) V, causal: query i meets keys 0..i. q [B, S, heads, qk_dim], k [B, S, kv_heads, qk_dim],
// v [B, S, kv_heads, v_dim], FP32; heads a multiple of kv_heads, consecutive heads share one. Result
// [B, S, heads, v_dim]. Scores by numerics::dot; exp(score - largest) summed in the order of numerics/reduce.h; values
// added key after key, each weight divided by the sum first. Plain: the whole row of scores at once.
[[nodiscard]] tensor::Tensor attention_core(const tensor::Tensor& q, const tensor::Tensor& k, const tensor::Tensor& v,
                                            double scale, const Numerics& numerics);

}  // namespace lastbit::ops

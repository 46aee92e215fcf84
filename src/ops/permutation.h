// Dispatch and combine of a mixture of experts on one device: tokens' rows gathered by expert, and added up again.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::ops {

// Where the rows of a routing [tokens, top_k] go. A slot is token * top_k + place; a row is a used slot's place in
// expert order: expert after expert, and within one in token order.
struct ExpertPermutation {
  std::int64_t tokens = 0;
  std::int64_t top_k = 0;
  std::vector<std::int64_t> offsets;      // [experts + 1]: expert e has the rows offsets[e] ... offsets[e + 1] - 1
  std::vector<std::int64_t> slot_of_row;  // [rows]
  std::vector<std::int64_t> row_of_slot;  // [tokens * top_k], -1 for a slot without an expert

  [[nodiscard]] std::int64_t rows() const { return static_cast<std::int64_t>(slot_of_row.size()); }
  [[nodiscard]] std::int64_t experts() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
};

// routing [tokens, top_k] i64: experts within [0, experts), ascending within a token, -1 for an unused slot anywhere.
// Errors: anything else is an internal error.
[[nodiscard]] ExpertPermutation expert_permutation(const tensor::Tensor& routing, std::int64_t experts);

// x [tokens, d], FP32 or FP64 -> [rows, d] in expert order.
[[nodiscard]] tensor::Tensor dispatch(const tensor::Tensor& x, const ExpertPermutation& permutation);

// dx_rows [rows, d] -> dx [tokens, d]: from +0, a token's rows added, experts ascending.
[[nodiscard]] tensor::Tensor dispatch_backward(const tensor::Tensor& dx_rows, const ExpertPermutation& permutation);

// outputs [rows, d] and weights [tokens, top_k] of one type -> [tokens, d]: from +0, a token's weight * output added,
// experts ascending, both operations rounded. Weights of unused slots are not read.
[[nodiscard]] tensor::Tensor combine(const tensor::Tensor& outputs, const tensor::Tensor& weights,
                                     const ExpertPermutation& permutation);

struct CombineGradients {
  tensor::Tensor doutputs;  // [rows, d]: weight * dy
  tensor::Tensor dweights;  // [tokens, top_k]: numerics::dot(dy, output), 0 for unused slots
};

// The gradients of combine for dy [tokens, d].
[[nodiscard]] CombineGradients combine_backward(const tensor::Tensor& dy, const tensor::Tensor& outputs,
                                                const tensor::Tensor& weights, const ExpertPermutation& permutation);

}  // namespace lastbit::ops

// Clipping of all gradients together by their norm (Pascanu et al., arXiv 1211.5063), as torch.nn.utils.clip_grad_norm_
// does it.
#pragma once

#include <span>

namespace lastbit::train {

// sqrt of the sum of squares over all arrays, in double; T is float or double. Arrays are cut into ranges of 2^16
// elements; in a range eight lanes as in numerics/reduce.h, then the ranges in order, array after array: the same bits
// for every number of threads.
// Errors (bad input): an element that is not finite, with its place; squares of double that overflow.
template <typename T>
[[nodiscard]] double gradient_norm(std::span<const std::span<const T>> gradients);

// min(1, max_norm / (norm + 1e-6)). Errors (bad input): max_norm not above 0 or not finite, a norm below 0 or not
// finite.
[[nodiscard]] double clip_factor(double norm, double max_norm);

// g = RN(g RN(factor)) in T for every element. What adamw_step does by itself with AdamWStep::gradient_scale.
template <typename T>
void scale_gradients(std::span<const std::span<T>> gradients, double factor);

// All three; returns the norm before. Arrays whose norm is within max_norm - 1e-6 keep their bits.
template <typename T>
double clip_gradients(std::span<const std::span<T>> gradients, double max_norm);

}  // namespace lastbit::train

// A token's affinities for the experts and their gradient: what routers and balance losses share.
#pragma once

#include <cstdint>
#include <vector>

namespace lastbit::ops {

enum class Affinity {
  kSigmoid,            // DeepSeek-V3
  kSoftmax,            // DeepSeekMoE, DeepSeek-V2, GShard, Switch
  kNormalisedSigmoid,  // s_i / (sum_j s_j + 1e-20) of V3's s: shares, which top-p and V3's balance loss ask for
};

// Keeps a quotient by a sum of affinities harmless where all of them underflow, as in the release of DeepSeek-V3.
inline constexpr double kAffinityOffset = 1e-20;

// Affinities of one row of logits, T float or double throughout. Sums in the order of numerics/reduce.h; the softmax
// subtracts the largest logit first. Errors: a logit that is not finite is an internal error.
template <typename T>
[[nodiscard]] std::vector<T> affinities(const T* logits, std::int64_t columns, Affinity kind);

// dlogits [columns] from the gradient of the affinities of the same logits.
template <typename T>
void affinities_backward(const T* logits, std::int64_t columns, Affinity kind, const T* daffinities, T* dlogits);

// log sum_i exp(logit_i) of one row.
template <typename T>
[[nodiscard]] T log_sum_exp(const T* logits, std::int64_t columns);

}  // namespace lastbit::ops

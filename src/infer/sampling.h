// From logits to the next token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/philox.h"

namespace lastbit::infer {

// Applied in this order, with the meaning of transformers' logits warpers.
struct SamplingRule {
  double temperature = 1;  // logits are divided by it; 0: all probability to greedy()'s token
  // Tokens below the k-th largest logit are left out; those equal to it stay, however many. 0: off.
  std::int64_t top_k = 0;
  // From the least likely up, tokens are left out while their cumulative probability (after top_k) is at most
  // 1 - top_p; the likeliest always stays. Among equals the higher id goes first. 1: off.
  double top_p = 1;
};

// The token with the largest logit, the lowest id among equals; T is float or double. Errors (bad input): no logits, a
// NaN or +inf, nothing above -inf.
template <typename T>
[[nodiscard]] std::int64_t greedy(std::span<const T> logits);

// What the next token is drawn from, [vocabulary]: 0 for what the rule leaves out. A logit of -inf bars its token.
// In double with numerics::exp, sums in order of id (of top_p: from the least likely up): the same bits everywhere.
// Errors (bad input): as greedy; a temperature below 0, top_k below 0, top_p outside (0, 1].
template <typename T>
[[nodiscard]] std::vector<double> sampling_probabilities(std::span<const T> logits, const SamplingRule& rule);

// The token at u in [0, 1): the number of entries <= u of the cumulative sums in order of id, so one with probability
// above 0. Where rounding leaves the last sum at or below u, the last such token.
// Errors (bad input): probabilities that are not a distribution (see check_distribution), u outside [0, 1).
[[nodiscard]] std::int64_t draw(std::span<const double> probabilities, double u);

// Bad input unless every probability is finite and 0 or more and their sum within 1e-6 of 1, which FP32 softmaxes keep;
// `what` names the distribution.
void check_distribution(std::span<const double> probabilities, const char* what);

// Uniform in [0, 1) on the grid of 2^-53, from words 2 i and 2 i + 1 of the stream: finer than a token's probability.
[[nodiscard]] double uniform(const core::RandomStream& stream, std::uint64_t i);

}  // namespace lastbit::infer

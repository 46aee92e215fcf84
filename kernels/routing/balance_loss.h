// DeepSeek-V3's balance loss and its gradient (arXiv 2412.19437, equations 17 to 20), as ops::expert_balance_loss()
// with sigmoid affinities has it. Arrays are the device's, row-major; errors as launch().
#pragma once

#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

// With share = s / (sum of s + 1e-20), s = sigmoid(logits), N experts, K = top_k and T = tokens_a_sequence: f
// [sequences, experts] = N / (K T) * slots of a sequence that chose an expert, p [sequences, experts] the mean share
// over its tokens, loss = alpha * mean over sequences of sum f p, dlogits its gradient with f constant. Shares and
// gradients in FP32; f, p and the loss in double, tokens and experts in order. v0 has numerics/reduce.h's order in the
// sum of s and in the gradient's dot product, the tuned version that of warp_sum(). Four launches.
struct BalanceLoss {
  const float* logits;         // [tokens, experts]
  const std::int64_t* choice;  // [tokens, top_k], -1: unused
  float* shares;               // [tokens, experts]
  double* f;
  double* p;
  double* loss;    // one
  float* dlogits;  // [tokens, experts]
  int tokens;
  int experts;  // up to kMostExperts
  int top_k;
  int tokens_a_sequence;  // divides tokens
  double alpha;
};
void balance_loss(const BalanceLoss& call, Version version);

}  // namespace lastbit::kernels

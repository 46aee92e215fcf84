// DeepSeek-V3's router, and tokens on their way to experts and back. Arrays are the device's, row-major; errors as
// launch().
#pragma once

#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

constexpr int kMostExperts = 1024;
constexpr int kMostGroups = 32;
constexpr int kMostTopK = 32;

struct RouterRule {
  int experts;  // up to kMostExperts, a multiple of `groups`
  int groups;   // up to kMostGroups
  int kept_groups;
  int top_k;         // up to kMostTopK
  bool rank_by_max;  // groups ranked by their largest biased affinity, or by the sum of the two largest
  bool normalise;
  float scale;
};

// affinity = sigmoid(logits [tokens, experts]); the best groups and among them the top_k experts by affinity + bias
// [experts], equals to the lower index; topk_idx [tokens, top_k] ascending, topk_weight = affinity (over the sum of the
// chosen) * scale.
void route(const float* logits, const float* bias, int tokens, const RouterRule& rule, std::int64_t* topk_idx,
           float* topk_weight, Version version);

struct PermutationShape {
  int tokens;
  int d;
  int experts;
  int top_k;
};

// topk_idx [tokens, top_k], ascending, -1: unused. rows [tokens * top_k, d] BF16: x [tokens, d] in the order of
// experts, in token order within one, +0 behind; offsets [experts + 1]; row_of_slot [tokens, top_k], -1: unused. Up to
// three launches.
void permute(const std::uint16_t* x, const std::int64_t* topk_idx, const PermutationShape& shape, std::uint16_t* rows,
             std::int64_t* offsets, std::int64_t* row_of_slot, Version version);

// y [tokens, d] BF16 = sum over slots, ascending, of weight * row in FP32 from +0; with `fma` fused.
void unpermute(const std::uint16_t* rows, const std::int64_t* row_of_slot, const float* weights,
               const PermutationShape& shape, bool fma, std::uint16_t* y, Version version);

}  // namespace lastbit::kernels

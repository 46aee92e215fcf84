#include "kernels/routing/affinity.h"
#include "kernels/routing/routing_gradients.h"

namespace lastbit::kernels {
namespace {

constexpr unsigned kAll = 0xffffffffU;

struct RouterGradient {
  const float* logits;
  const std::int64_t* topk_idx;
  const float* dweights;
  float* dlogits;
  int tokens;
  RouterRule rule;
};

// From the gradient of a chosen affinity to that of its logit.
__device__ float logit_gradient(float daffinity, float score) { return daffinity * score * (1 - score); }

// v0: one thread a token.
__global__ void route_backward_v0(RouterGradient call) {
  const int token = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (token >= call.tokens) return;
  const RouterRule& rule = call.rule;
  const std::size_t row = static_cast<std::size_t>(token) * static_cast<std::size_t>(rule.experts);
  const std::int64_t* const chosen = call.topk_idx + token * rule.top_k;
  const float* const dweights = call.dweights + token * rule.top_k;
  const auto score = [&](int slot) { return affinity(call.logits[row + static_cast<std::size_t>(chosen[slot])]); };
  for (int e = 0; e < rule.experts; ++e) call.dlogits[row + static_cast<std::size_t>(e)] = 0;
  float divisor = 0;
  for (int i = 0; i < rule.top_k; ++i)
    if (chosen[i] >= 0) divisor += score(i);
  divisor = rule.normalise ? divisor + kAffinityOffset : 1;
  float mean = 0;  // w_i = s_i / divisor: ds_j = (dw_j - sum of dw_i w_i) / divisor
  if (rule.normalise)
    for (int i = 0; i < rule.top_k; ++i)
      if (chosen[i] >= 0) mean += dweights[i] * rule.scale * __fdiv_rn(score(i), divisor);
  for (int i = 0; i < rule.top_k; ++i) {
    if (chosen[i] < 0) continue;
    const float slope = dweights[i] * rule.scale;
    const float daffinity = rule.normalise ? __fdiv_rn(slope - mean, divisor) : slope;
    call.dlogits[row + static_cast<std::size_t>(chosen[i])] = logit_gradient(daffinity, score(i));
  }
}

constexpr int kTokensABlock = 4;

// One warp a token: lane i holds slot i; sums in the order of slots, as v0.
__global__ void __launch_bounds__(32 * kTokensABlock) route_backward_warps(RouterGradient call) {
  const RouterRule& rule = call.rule;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int token = static_cast<int>(blockIdx.x) * kTokensABlock + static_cast<int>(threadIdx.x) / 32;
  if (token >= call.tokens) return;  // all of a warp
  const std::size_t row = static_cast<std::size_t>(token) * static_cast<std::size_t>(rule.experts);
  for (int e = lane; e < rule.experts; e += 32) call.dlogits[row + static_cast<std::size_t>(e)] = 0;
  const std::int64_t expert = lane < rule.top_k ? call.topk_idx[token * rule.top_k + lane] : -1;
  const std::size_t place = row + static_cast<std::size_t>(expert >= 0 ? expert : 0);
  const float score = expert >= 0 ? affinity(call.logits[place]) : 0;
  const float slope = expert >= 0 ? call.dweights[token * rule.top_k + lane] * rule.scale : 0;
  float daffinity = slope;
  if (rule.normalise) {
    float divisor = 0;
    float mean = 0;
    for (int i = 0; i < rule.top_k; ++i) divisor += __shfl_sync(kAll, score, i);
    divisor += kAffinityOffset;
    const float term = slope * __fdiv_rn(score, divisor);
    for (int i = 0; i < rule.top_k; ++i) mean += __shfl_sync(kAll, term, i);
    daffinity = __fdiv_rn(slope - mean, divisor);
  }
  __syncwarp();  // the zeros are there
  if (expert >= 0) call.dlogits[place] = logit_gradient(daffinity, score);
}

}  // namespace

void route_backward(const float* logits, const std::int64_t* topk_idx, const float* dweights, int tokens,
                    const RouterRule& rule, float* dlogits, Version version) {
  const RouterGradient call{logits, topk_idx, dweights, dlogits, tokens, rule};
  const auto blocks = [&](int each) { return static_cast<unsigned>((tokens + each - 1) / each); };
  if (version == Version::kObvious)
    simt::launch({"route_backward", dim3{blocks(32), 1, 1}, dim3{32, 1, 1}}, route_backward_v0, call);
  else
    simt::launch({"route_backward", dim3{blocks(kTokensABlock), 1, 1}, dim3{32 * kTokensABlock, 1, 1}},
                 route_backward_warps, call);
}

}  // namespace lastbit::kernels

#include "kernels/numbers/block_sum.h"
#include "kernels/numbers/lane_sum.h"
#include "kernels/routing/affinity.h"
#include "kernels/routing/balance_loss.h"
#include "kernels/routing/routing.h"

namespace lastbit::kernels {
namespace {

constexpr int kThreads = 128;
constexpr int kTokensABlock = kThreads / 32;

__device__ std::size_t row_of(const BalanceLoss& call, int token) {
  return static_cast<std::size_t>(token) * static_cast<std::size_t>(call.experts);
}
__device__ int sequences(const BalanceLoss& call) { return call.tokens / call.tokens_a_sequence; }

// The gradient of the loss by a share of any token of a sequence.
__device__ float share_slope(const BalanceLoss& call, int sequence, int expert) {
  const double factor = call.alpha / sequences(call);
  return static_cast<float>(factor * call.f[row_of(call, sequence) + static_cast<std::size_t>(expert)] /
                            call.tokens_a_sequence);
}

// `share` stands for score / divisor; `mean` is the sum of slope * share over the token's experts.
__device__ float logit_slope(float slope, float mean, float share, float score) {
  return (slope - mean) * share * (1 - score);
}

// v0: one thread a token.
__global__ void shares_v0(BalanceLoss call) {
  const int token = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (token >= call.tokens) return;
  const float* const logits = call.logits + row_of(call, token);
  LaneSum<float> sum = {};
  for (int e = 0; e < call.experts; ++e) sum.add(static_cast<std::size_t>(e), affinity(logits[e]));
  const float divisor = sum.total() + kAffinityOffset;
  for (int e = 0; e < call.experts; ++e)
    call.shares[row_of(call, token) + static_cast<std::size_t>(e)] = __fdiv_rn(affinity(logits[e]), divisor);
}

// v0: one thread a sequence and expert.
__global__ void loads_v0(BalanceLoss call) {
  const int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (index >= sequences(call) * call.experts) return;
  const int first = index / call.experts * call.tokens_a_sequence;
  const int expert = index % call.experts;
  int count = 0;
  double sum = 0;
  for (int token = first; token < first + call.tokens_a_sequence; ++token) {
    for (int i = 0; i < call.top_k; ++i) count += call.choice[token * call.top_k + i] == expert ? 1 : 0;
    sum += static_cast<double>(call.shares[row_of(call, token) + static_cast<std::size_t>(expert)]);
  }
  const double unit = static_cast<double>(call.experts) / (static_cast<double>(call.top_k) * call.tokens_a_sequence);
  call.f[index] = count * unit;
  call.p[index] = sum / call.tokens_a_sequence;
}

// v0: one thread a token.
__global__ void slopes_v0(BalanceLoss call) {
  const int token = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (token >= call.tokens) return;
  const int sequence = token / call.tokens_a_sequence;
  const std::size_t row = row_of(call, token);
  LaneSum<float> mean = {};
  for (int e = 0; e < call.experts; ++e) {
    const auto expert = static_cast<std::size_t>(e);
    mean.add(expert, __fmul_rn(share_slope(call, sequence, e), call.shares[row + expert]));
  }
  for (int e = 0; e < call.experts; ++e) {
    const std::size_t at = row + static_cast<std::size_t>(e);
    call.dlogits[at] =
        logit_slope(share_slope(call, sequence, e), mean.total(), call.shares[at], affinity(call.logits[at]));
  }
}

// A warp a token.
__global__ void __launch_bounds__(kThreads) shares_warps(BalanceLoss call) {
  const int token = static_cast<int>(blockIdx.x) * kTokensABlock + static_cast<int>(threadIdx.x) / 32;
  if (token >= call.tokens) return;  // the whole warp
  const std::size_t row = row_of(call, token);
  float sum = 0;
  for (std::size_t e = threadIdx.x % 32; e < static_cast<std::size_t>(call.experts); e += 32)
    sum += affinity(call.logits[row + e]);
  const float divisor = warp_sum(sum) + kAffinityOffset;
  for (std::size_t e = threadIdx.x % 32; e < static_cast<std::size_t>(call.experts); e += 32)
    call.shares[row + e] = __fdiv_rn(affinity(call.logits[row + e]), divisor);
}

// A block a sequence: slots counted in shared memory, then a thread an expert.
__global__ void __launch_bounds__(kThreads) loads_sequences(BalanceLoss call) {
  __shared__ int counts[kMostExperts];
  const int first = static_cast<int>(blockIdx.x) * call.tokens_a_sequence;
  const std::int64_t* const choice = call.choice + first * call.top_k;
  for (int e = static_cast<int>(threadIdx.x); e < call.experts; e += kThreads) counts[e] = 0;
  __syncthreads();
  for (int slot = static_cast<int>(threadIdx.x); slot < call.tokens_a_sequence * call.top_k; slot += kThreads)
    if (choice[slot] >= 0) atomicAdd(&counts[choice[slot]], 1);
  __syncthreads();
  const double unit = static_cast<double>(call.experts) / (static_cast<double>(call.top_k) * call.tokens_a_sequence);
  for (int e = static_cast<int>(threadIdx.x); e < call.experts; e += kThreads) {
    double sum = 0;
    for (int token = first; token < first + call.tokens_a_sequence; ++token)
      sum += static_cast<double>(call.shares[row_of(call, token) + static_cast<std::size_t>(e)]);
    const std::size_t at = row_of(call, static_cast<int>(blockIdx.x)) + static_cast<std::size_t>(e);
    call.f[at] = counts[e] * unit;
    call.p[at] = sum / call.tokens_a_sequence;
  }
}

// A warp a token.
__global__ void __launch_bounds__(kThreads) slopes_warps(BalanceLoss call) {
  const int token = static_cast<int>(blockIdx.x) * kTokensABlock + static_cast<int>(threadIdx.x) / 32;
  if (token >= call.tokens) return;  // the whole warp
  const int sequence = token / call.tokens_a_sequence;
  const std::size_t row = row_of(call, token);
  float mean = 0;
  for (int e = static_cast<int>(threadIdx.x) % 32; e < call.experts; e += 32)
    mean = __fmaf_rn(share_slope(call, sequence, e), call.shares[row + static_cast<std::size_t>(e)], mean);
  mean = warp_sum(mean);
  for (int e = static_cast<int>(threadIdx.x) % 32; e < call.experts; e += 32) {
    const std::size_t at = row + static_cast<std::size_t>(e);
    call.dlogits[at] = logit_slope(share_slope(call, sequence, e), mean, call.shares[at], affinity(call.logits[at]));
  }
}

// One thread.
__global__ void total_loss(BalanceLoss call) {
  double total = 0;
  for (int i = 0; i < sequences(call) * call.experts; ++i) total += call.f[i] * call.p[i];
  *call.loss = call.alpha / sequences(call) * total;
}

dim3 grid_of(int count, int each) { return dim3{static_cast<unsigned>((count + each - 1) / each), 1, 1}; }

}  // namespace

void balance_loss(const BalanceLoss& call, Version version) {
  const int count = call.tokens / call.tokens_a_sequence;
  const dim3 warp{32, 1, 1};
  const dim3 block{kThreads, 1, 1};
  if (version == Version::kObvious) {
    simt::launch({"balance_shares", grid_of(call.tokens, 32), warp}, shares_v0, call);
    simt::launch({"balance_loads", grid_of(count * call.experts, 32), warp}, loads_v0, call);
    simt::launch({"balance_slopes", grid_of(call.tokens, 32), warp}, slopes_v0, call);
  } else {
    simt::launch({"balance_shares", grid_of(call.tokens, kTokensABlock), block}, shares_warps, call);
    simt::launch({"balance_loads", grid_of(count, 1), block}, loads_sequences, call);
    simt::launch({"balance_slopes", grid_of(call.tokens, kTokensABlock), block}, slopes_warps, call);
  }
  simt::launch({"balance_loss", dim3{1, 1, 1}, dim3{1, 1, 1}}, total_loss, call);
}

}  // namespace lastbit::kernels

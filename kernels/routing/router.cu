#include "kernels/routing/affinity.h"
#include "kernels/routing/routing.h"

namespace lastbit::kernels {
namespace {

constexpr float kNever = -3.0e38F;  // below every score
constexpr unsigned kAll = 0xffffffffU;

// What ranks a group of `size` scores.
__device__ float group_rank(const float* scores, int size, bool by_max) {
  float first = kNever;
  float second = kNever;
  for (int i = 0; i < size; ++i) {
    if (scores[i] > first) {
      second = first;
      first = scores[i];
    } else if (scores[i] > second) {
      second = scores[i];
    }
  }
  return by_max ? first : first + second;
}

__device__ int largest(const float* scores, int count) {
  int best = 0;
  for (int i = 1; i < count; ++i)
    if (scores[i] > scores[best]) best = i;
  return best;
}

// The chosen, marked in `chosen`, in ascending order with their weights.
__device__ void write_chosen(const float* logits, const unsigned* chosen, const RouterRule& rule,
                             std::int64_t* topk_idx, float* topk_weight) {
  float sum = 0;
  int count = 0;
  for (int e = 0; e < rule.experts; ++e) {
    if ((chosen[e / 32] >> (e % 32) & 1U) == 0) continue;
    topk_idx[count] = e;
    topk_weight[count] = affinity(logits[e]);
    sum += topk_weight[count++];
  }
  for (int i = 0; i < count; ++i)
    topk_weight[i] = (rule.normalise ? __fdiv_rn(topk_weight[i], sum) : topk_weight[i]) * rule.scale;
}

// v0: one thread a token.
__global__ void route_v0(const float* logits, const float* bias, int tokens, RouterRule rule, std::int64_t* topk_idx,
                         float* topk_weight) {
  const int token = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (token >= tokens) return;
  const float* const row = logits + static_cast<std::size_t>(token) * static_cast<std::size_t>(rule.experts);
  float scores[kMostExperts];
  float ranks[kMostGroups];
  unsigned chosen[kMostExperts / 32] = {};
  const int size = rule.experts / rule.groups;
  for (int e = 0; e < rule.experts; ++e) scores[e] = affinity(row[e]) + bias[e];
  for (int g = 0; g < rule.groups; ++g) ranks[g] = group_rank(scores + g * size, size, rule.rank_by_max);
  unsigned kept = 0;
  for (int i = 0; i < rule.kept_groups; ++i) {
    const int g = largest(ranks, rule.groups);
    ranks[g] = kNever;
    kept |= 1U << g;
  }
  for (int e = 0; e < rule.experts; ++e)
    if ((kept >> (e / size) & 1U) == 0) scores[e] = kNever;
  for (int i = 0; i < rule.top_k; ++i) {
    const int e = largest(scores, rule.experts);
    scores[e] = kNever;
    chosen[e / 32] |= 1U << (e % 32);
  }
  write_chosen(row, chosen, rule, topk_idx + token * rule.top_k, topk_weight + token * rule.top_k);
}

// A score and where it is; the better one is the larger, of equals the lower.
struct Candidate {
  float score;
  int index;
};
__device__ Candidate better(Candidate a, Candidate b) {
  return b.score > a.score || (b.score == a.score && b.index < a.index) ? b : a;
}
__device__ Candidate warp_best(Candidate mine) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const Candidate other{__shfl_xor_sync(kAll, mine.score, lanes), __shfl_xor_sync(kAll, mine.index, lanes)};
    mine = better(mine, other);
  }
  return mine;
}

constexpr int kTokensABlock = 4;

// A warp keeps the best groups of a token: bit g of the result. Lane g holds group g's rank.
__device__ unsigned keep_groups(const float* scores, int lane, const RouterRule& rule) {
  const int size = rule.experts / rule.groups;
  float rank = lane < rule.groups ? group_rank(scores + lane * size, size, rule.rank_by_max) : kNever;
  unsigned kept = 0;
  for (int i = 0; i < rule.kept_groups; ++i) {
    const Candidate best = warp_best({rank, lane});
    if (lane == best.index) rank = kNever;
    kept |= 1U << best.index;
  }
  return kept;
}

// One warp a token: lane l holds experts l, l + 32, ...; the chosen one of each round wins a shuffle.
__global__ void __launch_bounds__(32 * kTokensABlock)
    route_warps(const float* logits, const float* bias, int tokens, RouterRule rule, std::int64_t* topk_idx,
                float* topk_weight) {
  __shared__ float all_scores[kTokensABlock][kMostExperts];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int token = static_cast<int>(blockIdx.x) * kTokensABlock + warp;
  if (token >= tokens) return;  // all of a warp
  float* const scores = all_scores[warp];
  const float* const row = logits + static_cast<std::size_t>(token) * static_cast<std::size_t>(rule.experts);
  for (int e = lane; e < rule.experts; e += 32) scores[e] = affinity(row[e]) + bias[e];
  __syncwarp();
  const unsigned kept = keep_groups(scores, lane, rule);
  __syncwarp();
  const int size = rule.experts / rule.groups;
  for (int e = lane; e < rule.experts; e += 32)
    if ((kept >> (e / size) & 1U) == 0) scores[e] = kNever;
  int chosen = kMostExperts;  // of lane i, the i-th chosen
  for (int i = 0; i < rule.top_k; ++i) {
    Candidate mine{kNever, lane};
    for (int e = lane; e < rule.experts; e += 32) mine = better(mine, {scores[e], e});
    const Candidate best = warp_best(mine);
    if (best.index % 32 == lane) scores[best.index] = kNever;
    if (lane == i) chosen = best.index;
  }
  int place = 0;  // among the chosen, ascending
  float sum = 0;
  for (int i = 0; i < rule.top_k; ++i) place += __shfl_sync(kAll, chosen, i) < chosen ? 1 : 0;
  const float weight = lane < rule.top_k ? affinity(row[chosen]) : 0;
  for (int i = 0; i < rule.top_k; ++i) {  // in ascending order of experts, as v0
    const int who = __ffs(static_cast<int>(__ballot_sync(kAll, lane < rule.top_k && place == i ? 1 : 0))) - 1;
    sum += __shfl_sync(kAll, weight, who);
  }
  if (lane >= rule.top_k) return;
  topk_idx[token * rule.top_k + place] = chosen;
  topk_weight[token * rule.top_k + place] = (rule.normalise ? __fdiv_rn(weight, sum) : weight) * rule.scale;
}

}  // namespace

void route(const float* logits, const float* bias, int tokens, const RouterRule& rule, std::int64_t* topk_idx,
           float* topk_weight, Version version) {
  const auto blocks = [&](int each) { return static_cast<unsigned>((tokens + each - 1) / each); };
  if (version == Version::kObvious)
    simt::launch({"route", dim3{blocks(32), 1, 1}, dim3{32, 1, 1}}, route_v0, logits, bias, tokens, rule, topk_idx,
                 topk_weight);
  else
    simt::launch({"route", dim3{blocks(kTokensABlock), 1, 1}, dim3{32 * kTokensABlock, 1, 1}}, route_warps, logits,
                 bias, tokens, rule, topk_idx, topk_weight);
}

}  // namespace lastbit::kernels

// Which experts a token goes to, and with what weight: every router, forward and backward.
#pragma once

#include <cstdint>

#include "ops/affinity.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

enum class Selection {
  kTopK,  // the top_k largest biased affinities
  kTopP,  // the fewest experts, largest share first, whose shares sum to top_p or more; at most top_k of them
  kHash,  // one expert, a fixed function of the token id and the layer, weight 1; logits only lend their shape
};

// How a group of experts is ranked when only some groups may be chosen from.
enum class GroupRank {
  kNone,      // no groups
  kMax,       // DeepSeek-V2: its largest affinity
  kTopTwo,    // DeepSeek-V3 as released: the sum of its two largest biased affinities
  kTopShare,  // DeepSeek-V3 as published: the sum of its top_k / kept_groups (rounded down, at least 1) largest
};

// Named routers:           affinity           selection  more
//   DeepSeek-V3            kSigmoid           kTopK      bias, kTopTwo or kTopShare, normalise, scale
//   DeepSeek-V2            kSoftmax           kTopK      kMax, normalise off, scale, device_capacity_factor
//   DeepSeekMoE            kSoftmax           kTopK      normalise off
//   GShard (2006.16668)    kSoftmax           kTopK      top_k 2, normalise, capacity_factor, random_second
//   Switch (2101.03961)    kSoftmax           kTopK      top_k 1, normalise off, capacity_factor; ops::jitter on its
//   input Hash (2106.04426)      any                kHash      top_k 1 top-p (2403.07652)     kSoftmax or
//   kNormalisedSigmoid, kTopP
struct RouterRule {
  Affinity affinity = Affinity::kSigmoid;
  GroupRank group_rank = GroupRank::kNone;
  std::int64_t groups = 1;
  std::int64_t kept_groups = 1;
  // Experts of the other groups compete with a biased affinity of 0, as in DeepSeek-V3's first transformers code,
  // rather than not at all: they win over biased affinities below 0.
  bool masked_at_zero = false;
  std::int64_t top_k = 1;
  // The first logits of a row belong to shared experts: they take part in the softmax and are never chosen
  // (DeepSeekMoE's illustrations count them; no released model does). Experts are numbered from the first one after
  // them.
  std::int64_t shared_logits = 0;
  bool normalise = true;  // divide by the sum of the chosen affinities
  double scale = 1;       // times this

  Selection selection = Selection::kTopK;
  double top_p = 1;
  // GShard's algorithm 1: the second expert is kept when 2 g2 > u, u uniform in [0, 1) and g2 its share of the two.
  bool random_second = false;
  double capacity_factor = 0;  // an expert takes expert_capacity() tokens; 0: as many as come
  // DeepSeek-V2 (2405.04434, section 2.2.4): a device takes this times its average share of the (token, expert) pairs,
  // 1 in the paper, and drops those of lowest affinity beyond; 0: none. Sequences are exempt with probability
  // protected_share each.
  double device_capacity_factor = 0;
  std::int64_t devices = 1;
  double protected_share = 0.1;
};

// What some rules need beside the logits.
struct RouteContext {
  const tensor::Tensor* token_ids = nullptr;  // [tokens] i64, not negative: kHash
  std::uint64_t seed = 0;                     // random_second, protected_share, kHash
  std::uint32_t layer = 0;
  std::uint32_t step = 0;
  std::int64_t first_token = 0;        // place of row 0 in the step's batch: makes randomness independent of batching
  std::int64_t tokens_a_sequence = 0;  // with device_capacity_factor: sequences lie one after the other
};

// Unused slots (dropped, or fewer than top_k chosen) hold expert -1 and weight 0 and come last in a row.
struct Routing {
  tensor::Tensor experts;  // [tokens, top_k] i64, ascending among the used
  tensor::Tensor weights;  // [tokens, top_k], dtype of the logits
  // [tokens, top_k] i64, ascending: what was chosen before anything was dropped; the weights are normalised over it,
  // and counts for balance are taken from it. The same bytes as `experts` where nothing was dropped.
  tensor::Tensor chosen;
  std::int64_t dropped = 0;  // (token, expert) pairs beyond a capacity
  std::int64_t skipped = 0;  // second experts left out at random
};

// logits [tokens, shared_logits + experts] FP32 or FP64; bias null or [experts] of that dtype: added to the affinities
// for the choice, never to the weights (arXiv 2412.19437, equations 12 to 16). Ties go to the lower expert, and to the
// lower group. All in the dtype of the logits; the chosen affinities are summed by ascending expert, one after the
// other; a zero sum stays harmless through kAffinityOffset. Capacity is granted first choices before second choices,
// tokens in order; who is left out at random takes no place. On a device the lowest affinity is dropped first, of
// equals the later token, then the higher expert. Errors: a logit that is not finite is an internal error.
[[nodiscard]] Routing route(const tensor::Tensor& logits, const tensor::Tensor* bias, const RouterRule& rule,
                            const RouteContext& context = {});

// dlogits [tokens, shared_logits + experts] from dweights [tokens, top_k], the gradient of routing.weights; logits and
// rule as given to route. The choice and what was dropped are constant; affinities, normalisation (kAffinityOffset
// included) and scale are differentiated. Values in unused slots of dweights are ignored.
[[nodiscard]] tensor::Tensor route_backward(const tensor::Tensor& dweights, const tensor::Tensor& logits,
                                            const Routing& routing, const RouterRule& rule);

// ceil(capacity_factor * top_k * tokens / experts) tokens an expert.
[[nodiscard]] std::int64_t expert_capacity(double capacity_factor, std::int64_t top_k, std::int64_t tokens,
                                           std::int64_t experts);

// Switch's input jitter: x [tokens, d] times factors uniform in [1 - epsilon, 1 + epsilon), element by element; FP32 or
// FP64. A function of the seed, layer, step and place (context.first_token) alone. The same call turns the gradient of
// the result into the gradient of x.
[[nodiscard]] tensor::Tensor jitter(const tensor::Tensor& x, double epsilon, const RouteContext& context);

}  // namespace lastbit::ops

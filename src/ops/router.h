// Which experts a token goes to, and with what weight.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace lastbit::ops {

enum class Affinity { kSigmoid, kSoftmax };

// How a group of experts is ranked when only some groups may be chosen from.
enum class GroupRank {
  kNone,    // no groups
  kMax,     // DeepSeek-V2: its largest affinity
  kTopTwo,  // DeepSeek-V3: the sum of its two largest biased affinities
};

struct RouterRule {
  Affinity affinity = Affinity::kSigmoid;
  GroupRank group_rank = GroupRank::kNone;
  std::int64_t groups = 1;
  std::int64_t kept_groups = 1;
  std::int64_t top_k = 1;
  // The first logits of a row belong to shared experts: they take part in the softmax and are never chosen
  // (DeepSeekMoE's illustrations count them; no released model does). Experts are numbered from the first one after
  // them.
  std::int64_t shared_logits = 0;
  bool normalise = true;  // divide by the sum of the chosen affinities
  double scale = 1;       // times this
};

struct Routing {
  tensor::Tensor experts;  // [tokens, top_k] i64, ascending in each row
  tensor::Tensor weights;  // [tokens, top_k] FP32
};

// logits [tokens, shared_logits + experts] FP32; bias null or [experts]: added to the affinities for the choice, never
// to the weights (arXiv 2412.19437, equations 12 to 16). Ties go to the lower expert, and to the lower group. Softmax
// and the sum of the chosen affinities (ascending expert, one after the other) in FP32; a zero sum stays harmless
// through 1e-20, as in the release. Errors: a logit that is not finite is an internal error.
[[nodiscard]] Routing route(const tensor::Tensor& logits, const tensor::Tensor* bias, const RouterRule& rule);

}  // namespace lastbit::ops

#include "ops/router.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "ops/token_drop.h"

namespace lastbit::ops {
namespace {

using tensor::DType;
using tensor::Tensor;
using Indices = std::vector<std::int64_t>;

constexpr std::int64_t kTokensARange = 32;

// The `count` best candidates by score, best first, ties to the lower index.
template <typename T>
Indices best(const std::vector<T>& scores, Indices candidates, std::int64_t count) {
  const auto better = [&](std::int64_t a, std::int64_t b) {
    const T score_a = scores[static_cast<std::size_t>(a)];
    const T score_b = scores[static_cast<std::size_t>(b)];
    return score_a != score_b ? score_a > score_b : a < b;
  };
  std::partial_sort(candidates.begin(), candidates.begin() + count, candidates.end(), better);
  candidates.resize(static_cast<std::size_t>(count));
  return candidates;
}

Indices first_numbers(std::size_t count) {
  Indices all(count);
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return all;
}

// How many of a group's largest biased affinities its rank adds up.
std::int64_t ranked_members(const RouterRule& rule, std::int64_t size) {
  switch (rule.group_rank) {
    case GroupRank::kNone:
    case GroupRank::kMax:
      return 1;
    case GroupRank::kTopTwo:
      return std::min<std::int64_t>(2, size);
    case GroupRank::kTopShare:
      break;
  }
  return std::clamp<std::int64_t>(rule.top_k / rule.kept_groups, 1, size);
}

// The experts that may be chosen: those of the kept groups.
template <typename T>
Indices eligible(const std::vector<T>& scores, const RouterRule& rule) {
  if (rule.group_rank == GroupRank::kNone || rule.kept_groups == rule.groups) return first_numbers(scores.size());
  const std::int64_t size = static_cast<std::int64_t>(scores.size()) / rule.groups;
  const std::int64_t members = ranked_members(rule, size);
  std::vector<T> ranks;
  for (std::int64_t group = 0; group < rule.groups; ++group) {
    std::vector<T> group_scores(scores.begin() + group * size, scores.begin() + (group + 1) * size);
    std::partial_sort(group_scores.begin(), group_scores.begin() + members, group_scores.end(), std::greater<>());
    T rank = group_scores[0];
    for (std::int64_t i = 1; i < members; ++i) rank += group_scores[static_cast<std::size_t>(i)];
    ranks.push_back(rank);
  }
  Indices kept;
  for (const std::int64_t group : best(ranks, first_numbers(ranks.size()), rule.kept_groups))
    for (std::int64_t i = 0; i < size; ++i) kept.push_back(group * size + i);
  return kept;
}

// All experts; the scores of those that are not among `kept` become 0.
template <typename T>
Indices with_the_others_at_zero(std::vector<T>& scores, const Indices& kept) {
  std::vector<T> masked(scores.size(), T{0});
  for (const std::int64_t expert : kept)
    masked[static_cast<std::size_t>(expert)] = scores[static_cast<std::size_t>(expert)];
  scores = std::move(masked);
  return first_numbers(scores.size());
}

// One token, `columns` logits: its experts in the order of preference, and their affinities.
template <typename T>
void choose(const T* logits, std::int64_t columns, const T* bias, const RouterRule& rule, std::int64_t token,
            Choices& choices) {
  std::vector<T> scores = affinities(logits, columns, rule.affinity);
  scores.erase(scores.begin(), scores.begin() + rule.shared_logits);
  std::vector<T> biased = scores;
  if (bias != nullptr)
    for (std::size_t e = 0; e < biased.size(); ++e) biased[e] += bias[e];
  Indices candidates = eligible(biased, rule);
  if (rule.masked_at_zero) candidates = with_the_others_at_zero(biased, candidates);
  T total = 0;
  std::int64_t place = 0;
  for (const std::int64_t expert : best(biased, std::move(candidates), rule.top_k)) {
    if (rule.selection == Selection::kTopP && place > 0 && total >= static_cast<T>(rule.top_p)) break;
    const std::size_t slot = choices.slot(token, place++);
    const T score = scores[static_cast<std::size_t>(expert)];
    total += score;
    choices.expert[slot] = expert;
    choices.affinity[slot] = static_cast<double>(score);
    choices.kept[slot] = 1;
  }
}

void choose_by_hash(const RouteContext& context, Choices& choices) {
  core::check(context.token_ids != nullptr && context.token_ids->size() == choices.tokens && choices.top_k == 1,
              "route: a hash takes token_ids [tokens] to one expert each");
  const auto ids = context.token_ids->values<std::int64_t>();
  const core::RandomStream random(context.seed, "router_hash", context.layer);  // one function at every step
  for (std::size_t t = 0; t < ids.size(); ++t) {
    core::check(ids[t] >= 0, "route: token ids are not negative");
    // The upper half of a product: spreads 2^32 words over the experts as evenly as whole numbers can.
    const std::uint64_t word = random.word(static_cast<std::uint64_t>(ids[t]));
    choices.expert[t] = static_cast<std::int64_t>((word * static_cast<std::uint64_t>(choices.experts)) >> 32U);
    choices.affinity[t] = 1;
    choices.kept[t] = 1;
  }
}

// The used slots of a token by ascending expert.
std::vector<std::size_t> ascending_slots(const Choices& choices, std::int64_t token) {
  std::vector<std::size_t> slots;
  for (std::int64_t place = 0; place < choices.top_k; ++place)
    if (choices.expert[choices.slot(token, place)] >= 0) slots.push_back(choices.slot(token, place));
  std::sort(slots.begin(), slots.end(), [&](auto a, auto b) { return choices.expert[a] < choices.expert[b]; });
  return slots;
}

// Weights of the kept slots, normalised over all used ones.
template <typename T>
void write_weights(const Choices& choices, const RouterRule& rule, Routing& routing) {
  const auto experts = routing.experts.mutable_values<std::int64_t>();
  const auto weights = routing.weights.template mutable_values<T>();
  const auto chosen = routing.chosen.mutable_values<std::int64_t>();
  std::fill(experts.begin(), experts.end(), -1);
  std::fill(chosen.begin(), chosen.end(), -1);
  core::parallel_for(choices.tokens, kTokensARange, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::vector<std::size_t> slots = ascending_slots(choices, t);
      T total = 0;
      for (const std::size_t slot : slots) total += static_cast<T>(choices.affinity[slot]);
      const T divisor = total + static_cast<T>(kAffinityOffset);
      std::size_t next_chosen = choices.slot(t, 0);
      std::size_t next = next_chosen;
      for (const std::size_t slot : slots) {
        chosen[next_chosen++] = choices.expert[slot];
        if (choices.kept[slot] == 0) continue;
        const T score = static_cast<T>(choices.affinity[slot]);
        experts[next] = choices.expert[slot];
        weights[next++] = (rule.normalise ? score / divisor : score) * static_cast<T>(rule.scale);
      }
    }
  });
}

void check_rule(const RouterRule& rule, std::int64_t experts, const Tensor* bias) {
  core::check(experts > 0 && (bias == nullptr || bias->size() == experts), "route: bias [experts]");
  core::check(rule.groups > 0 && experts % rule.groups == 0 && rule.kept_groups > 0 &&
                  rule.kept_groups <= rule.groups && rule.top_k > 0 &&
                  rule.top_k <= experts / rule.groups * rule.kept_groups,
              "route: groups divide the experts and hold the top K");
  core::check(rule.selection != Selection::kTopP || (rule.affinity != Affinity::kSigmoid && bias == nullptr),
              "route: top-p needs shares that sum to one, and no bias");
}

template <typename T>
Routing route_as(const Tensor& logits, const Tensor* bias, const RouterRule& rule, const RouteContext& context) {
  const std::int64_t tokens = logits.dim(0);
  const std::int64_t columns = logits.dim(1);
  const auto slots = static_cast<std::size_t>(tokens * rule.top_k);
  Choices choices{tokens,
                  columns - rule.shared_logits,
                  rule.top_k,
                  Indices(slots, -1),
                  std::vector<double>(slots, 0),
                  std::vector<std::uint8_t>(slots, 0)};
  if (rule.selection == Selection::kHash) {
    choose_by_hash(context, choices);
  } else {
    const T* in = logits.values<T>().data();
    const T* offsets = bias == nullptr ? nullptr : bias->values<T>().data();
    core::parallel_for(tokens, kTokensARange, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) choose(in + t * columns, columns, offsets, rule, t, choices);
    });
  }

  Routing routing{Tensor::empty(DType::kI64, {tokens, rule.top_k}), Tensor::zeros(logits.dtype(), {tokens, rule.top_k}),
                  Tensor::empty(DType::kI64, {tokens, rule.top_k})};
  if (rule.random_second) routing.skipped = skip_second_at_random(choices, context);
  if (rule.capacity_factor > 0) routing.dropped += drop_beyond_expert_capacity(choices, rule.capacity_factor);
  if (rule.device_capacity_factor > 0) routing.dropped += drop_beyond_device_capacity(choices, rule, context);
  write_weights<T>(choices, rule, routing);
  if (routing.dropped + routing.skipped == 0) routing.chosen = routing.experts;
  return routing;
}

// The gradient of the affinities of one token's experts from that of its weights.
template <typename T>
void affinity_gradient(const std::vector<T>& scores, std::span<const T> dweights, std::span<const std::int64_t> experts,
                       std::span<const std::int64_t> chosen, const RouterRule& rule, T* dscores) {
  const auto scale = static_cast<T>(rule.scale);
  const auto score_of = [&](std::int64_t expert) {
    return scores[static_cast<std::size_t>(rule.shared_logits + expert)];
  };
  T* routed = dscores + rule.shared_logits;
  for (std::size_t i = 0; i < experts.size(); ++i)
    if (experts[i] >= 0) routed[experts[i]] = dweights[i] * scale;
  if (!rule.normalise) return;
  T divisor = 0;
  for (const std::int64_t expert : chosen)
    if (expert >= 0) divisor += score_of(expert);
  divisor += static_cast<T>(kAffinityOffset);
  T mean = 0;  // g_i = s_i / divisor: ds_j = (dg_j - sum_i dg_i g_i) / divisor
  for (const std::int64_t expert : chosen)
    if (expert >= 0) mean += routed[expert] * (score_of(expert) / divisor);
  for (const std::int64_t expert : chosen)
    if (expert >= 0) routed[expert] = (routed[expert] - mean) / divisor;
}

template <typename T>
Tensor backward_as(const Tensor& dweights, const Tensor& logits, const Routing& routing, const RouterRule& rule) {
  Tensor dlogits = Tensor::zeros(logits.dtype(), logits.shape());
  if (rule.selection == Selection::kHash) return dlogits;
  const std::int64_t columns = logits.dim(1);
  const T* in = logits.values<T>().data();
  T* out = dlogits.mutable_values<T>().data();
  const auto gradients = dweights.values<T>();
  const auto experts = routing.experts.values<std::int64_t>();
  const auto chosen = routing.chosen.values<std::int64_t>();
  const auto top_k = static_cast<std::size_t>(rule.top_k);
  core::parallel_for(logits.dim(0), kTokensARange, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::size_t slot = static_cast<std::size_t>(t) * top_k;
      const T* row = in + t * columns;
      std::vector<T> dscores(static_cast<std::size_t>(columns), T{0});
      affinity_gradient<T>(affinities(row, columns, rule.affinity), gradients.subspan(slot, top_k),
                           experts.subspan(slot, top_k), chosen.subspan(slot, top_k), rule, dscores.data());
      affinities_backward(row, columns, rule.affinity, dscores.data(), out + t * columns);
    }
  });
  return dlogits;
}

template <typename T>
Tensor jitter_as(const Tensor& x, double epsilon, const RouteContext& context) {
  const core::RandomStream random(context.seed, "router_jitter", context.layer, context.step);
  const auto in = x.values<T>();
  Tensor result = Tensor::empty(x.dtype(), x.shape());
  const auto out = result.mutable_values<T>();
  const auto first = static_cast<std::uint64_t>(context.first_token * x.dim(1));
  core::parallel_for(x.size(), 4096, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const double place = 2 * static_cast<double>(random.uniform(first + i)) - 1;
      out[i] = in[i] * static_cast<T>(1 + epsilon * place);
    }
  });
  return result;
}

}  // namespace

Routing route(const Tensor& logits, const Tensor* bias, const RouterRule& rule, const RouteContext& context) {
  core::check(logits.rank() == 2, "route: logits [tokens, experts]");
  check_rule(rule, logits.dim(1) - rule.shared_logits, bias);
  return logits.dtype() == DType::kF64 ? route_as<double>(logits, bias, rule, context)
                                       : route_as<float>(logits, bias, rule, context);
}

Tensor route_backward(const Tensor& dweights, const Tensor& logits, const Routing& routing, const RouterRule& rule) {
  core::check(
      dweights.shape() == routing.weights.shape() && logits.dim(0) == dweights.dim(0) && dweights.dim(1) == rule.top_k,
      "route_backward: dweights [tokens, top_k] of this routing");
  return logits.dtype() == DType::kF64 ? backward_as<double>(dweights, logits, routing, rule)
                                       : backward_as<float>(dweights, logits, routing, rule);
}

Tensor jitter(const Tensor& x, double epsilon, const RouteContext& context) {
  core::check(x.rank() == 2, "jitter: x [tokens, d]");
  return x.dtype() == DType::kF64 ? jitter_as<double>(x, epsilon, context) : jitter_as<float>(x, epsilon, context);
}

}  // namespace lastbit::ops

#include "ops/router.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary.h"
#include "numerics/reduce.h"
#include "ops/matrix.h"

namespace lastbit::ops {
namespace {

using Indices = std::vector<std::int64_t>;

// The `count` best candidates by score, ties to the lower index; ascending.
Indices best(const std::vector<float>& scores, Indices candidates, std::int64_t count) {
  const auto better = [&](std::int64_t a, std::int64_t b) {
    const float score_a = scores[static_cast<std::size_t>(a)];
    const float score_b = scores[static_cast<std::size_t>(b)];
    return score_a != score_b ? score_a > score_b : a < b;
  };
  std::partial_sort(candidates.begin(), candidates.begin() + count, candidates.end(), better);
  candidates.resize(static_cast<std::size_t>(count));
  std::sort(candidates.begin(), candidates.end());
  return candidates;
}

std::vector<float> affinities(const float* logits, std::int64_t experts, Affinity kind) {
  std::vector<float> scores(logits, logits + experts);
  if (kind == Affinity::kSigmoid) {
    for (float& score : scores) score = numerics::sigmoid(score);
    return scores;
  }
  const float largest = *std::max_element(scores.begin(), scores.end());
  for (float& score : scores) score = numerics::exp(score - largest);
  const float total = numerics::sum(scores.data(), experts);
  for (float& score : scores) score /= total;
  return scores;
}

float rank_group(const float* scores, std::int64_t size, GroupRank rank) {
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  float first = kLowest;
  float second = kLowest;
  for (std::int64_t i = 0; i < size; ++i) {
    second = std::max(second, std::min(first, scores[i]));
    first = std::max(first, scores[i]);
  }
  return rank == GroupRank::kMax || size < 2 ? first : first + second;
}

// The experts that may be chosen: those of the kept groups.
Indices eligible(const std::vector<float>& scores, const RouterRule& rule) {
  Indices all(scores.size());
  std::iota(all.begin(), all.end(), std::int64_t{0});
  if (rule.group_rank == GroupRank::kNone || rule.kept_groups == rule.groups) return all;
  const std::int64_t size = static_cast<std::int64_t>(scores.size()) / rule.groups;
  std::vector<float> ranks;
  for (std::int64_t group = 0; group < rule.groups; ++group)
    ranks.push_back(rank_group(scores.data() + group * size, size, rule.group_rank));
  Indices groups(ranks.size());
  std::iota(groups.begin(), groups.end(), std::int64_t{0});
  Indices kept;
  for (const std::int64_t group : best(ranks, std::move(groups), rule.kept_groups))
    for (std::int64_t i = 0; i < size; ++i) kept.push_back(group * size + i);
  return kept;
}

// One token, `columns` logits: writes its experts and weights [top_k].
void route_token(const float* logits, std::int64_t columns, const float* bias, const RouterRule& rule,
                 std::int64_t* chosen, float* weights) {
  for (std::int64_t e = 0; e < columns; ++e) core::check(std::isfinite(logits[e]), "router logits are finite");
  std::vector<float> scores = affinities(logits, columns, rule.affinity);
  scores.erase(scores.begin(), scores.begin() + rule.shared_logits);
  std::vector<float> biased = scores;
  if (bias != nullptr)
    for (std::size_t e = 0; e < biased.size(); ++e) biased[e] += bias[e];
  const Indices selected = best(biased, eligible(biased, rule), rule.top_k);
  float total = 0;
  for (const std::int64_t expert : selected) total += scores[static_cast<std::size_t>(expert)];
  const auto scale = static_cast<float>(rule.scale);
  for (std::size_t i = 0; i < selected.size(); ++i) {
    const float score = scores[static_cast<std::size_t>(selected[i])];
    chosen[i] = selected[i];
    weights[i] = (rule.normalise ? score / (total + 1e-20F) : score) * scale;
  }
}

}  // namespace

Routing route(const tensor::Tensor& logits, const tensor::Tensor* bias, const RouterRule& rule) {
  const ConstMatrix in = as_matrix(logits);
  const std::int64_t experts = in.columns - rule.shared_logits;
  core::check(bias == nullptr || bias->size() == experts, "route: bias [experts]");
  core::check(rule.groups > 0 && experts % rule.groups == 0 && rule.kept_groups > 0 &&
                  rule.kept_groups <= rule.groups && rule.top_k > 0 &&
                  rule.top_k <= experts / rule.groups * rule.kept_groups,
              "route: groups divide the experts and hold the top K");
  const float* offsets = bias == nullptr ? nullptr : bias->values<float>().data();
  Routing routing{tensor::Tensor::empty(tensor::DType::kI64, {in.rows, rule.top_k}),
                  tensor::Tensor::empty(tensor::DType::kF32, {in.rows, rule.top_k})};
  std::int64_t* chosen = routing.experts.mutable_values<std::int64_t>().data();
  float* weights = routing.weights.mutable_values<float>().data();
  core::parallel_for(in.rows, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      route_token(in.row(t), in.columns, offsets, rule, chosen + t * rule.top_k, weights + t * rule.top_k);
  });
  return routing;
}

}  // namespace lastbit::ops

#include "infer/sampling.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "core/error.h"
#include "numerics/elementary.h"

namespace lastbit::infer {
namespace {

constexpr double kBarred = -std::numeric_limits<double>::infinity();

void check_rule(const SamplingRule& rule) {
  if (!(rule.temperature >= 0) || !std::isfinite(rule.temperature))
    core::fail_input("sampling: temperature {}, expected a finite number of 0 or more", rule.temperature);
  if (rule.top_k < 0) core::fail_input("sampling: top_k {}, expected 0 (off) or more", rule.top_k);
  if (!(rule.top_p > 0 && rule.top_p <= 1))
    core::fail_input("sampling: top_p {}, expected a number in (0, 1]", rule.top_p);
}

// exp(score - largest) over their sum.
std::vector<double> softmax(std::vector<double> scores) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double& score : scores) {
    score = score == kBarred ? 0 : numerics::exp(score - largest);
    total += score;
  }
  for (double& score : scores) score /= total;
  return scores;
}

void keep_top_k(std::vector<double>& scores, std::int64_t top_k) {
  if (top_k == 0 || top_k >= std::ssize(scores)) return;
  std::vector<double> order = scores;
  std::nth_element(order.begin(), order.begin() + (top_k - 1), order.end(), std::greater<>());
  const double least = order[static_cast<std::size_t>(top_k - 1)];
  for (double& score : scores)
    if (score < least) score = kBarred;
}

void keep_top_p(std::vector<double>& scores, double top_p) {
  if (top_p == 1) return;
  const std::vector<double> probabilities = softmax(scores);
  // By the scores, which tell apart tokens whose probabilities round to the same.
  std::vector<std::pair<double, std::int64_t>> order;  // score and the negated id: the higher id goes first
  for (std::size_t id = 0; id < scores.size(); ++id)
    if (scores[id] != kBarred) order.emplace_back(scores[id], -static_cast<std::int64_t>(id));
  std::sort(order.begin(), order.end());
  order.pop_back();  // the likeliest stays
  double cumulative = 0;
  for (const auto& [score, negated_id] : order) {
    const auto id = static_cast<std::size_t>(-negated_id);
    cumulative += probabilities[id];
    if (cumulative > 1 - top_p) break;
    scores[id] = kBarred;
  }
}

}  // namespace

template <typename T>
std::int64_t greedy(std::span<const T> logits) {
  if (logits.empty()) core::fail_input("sampling: no logits");
  std::size_t best = 0;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (std::isnan(logits[id]) || logits[id] == std::numeric_limits<T>::infinity())
      core::fail_input("sampling: the logit of token {} is {}, expected a number or -inf", id, logits[id]);
    if (logits[id] > logits[best]) best = id;
  }
  if (!std::isfinite(logits[best])) core::fail_input("sampling: all {} logits are -inf", logits.size());
  return static_cast<std::int64_t>(best);
}

template <typename T>
std::vector<double> sampling_probabilities(std::span<const T> logits, const SamplingRule& rule) {
  check_rule(rule);
  const std::int64_t best = greedy(logits);  // also checks them
  std::vector<double> scores(logits.begin(), logits.end());
  // Differences to the best beyond the largest double are barred either way.
  const double largest = scores[static_cast<std::size_t>(best)];
  if (rule.temperature == 0) {
    std::ranges::fill(scores, 0.0);
    scores[static_cast<std::size_t>(best)] = 1;
    return scores;
  }
  for (double& score : scores) score = (score - largest) / rule.temperature;
  keep_top_k(scores, rule.top_k);
  keep_top_p(scores, rule.top_p);
  return softmax(std::move(scores));
}

void check_distribution(std::span<const double> probabilities, const char* what) {
  double total = 0;
  for (std::size_t id = 0; id < probabilities.size(); ++id) {
    if (!(probabilities[id] >= 0) || !std::isfinite(probabilities[id]))
      core::fail_input("{}: the probability of token {} is {}, expected a number of 0 or more", what, id,
                       probabilities[id]);
    total += probabilities[id];
  }
  if (!(std::abs(total - 1) <= 1e-6)) core::fail_input("{}: the probabilities add to {}, expected 1", what, total);
}

std::int64_t draw(std::span<const double> probabilities, double u) {
  check_distribution(probabilities, "sampling");
  if (!(u >= 0 && u < 1)) core::fail_input("sampling: u is {}, expected a number in [0, 1)", u);
  double cumulative = 0;
  std::size_t last = 0;
  for (std::size_t id = 0; id < probabilities.size(); ++id) {
    cumulative += probabilities[id];
    if (cumulative > u) return static_cast<std::int64_t>(id);
    if (probabilities[id] > 0) last = id;
  }
  return static_cast<std::int64_t>(last);
}

double uniform(const core::RandomStream& stream, std::uint64_t i) {
  const std::uint64_t high = stream.word(2 * i);
  const std::uint64_t low = stream.word(2 * i + 1);
  return static_cast<double>(high << 21 | low >> 11) * 0x1p-53;
}

template std::int64_t greedy<float>(std::span<const float>);
template std::int64_t greedy<double>(std::span<const double>);
template std::vector<double> sampling_probabilities<float>(std::span<const float>, const SamplingRule&);
template std::vector<double> sampling_probabilities<double>(std::span<const double>, const SamplingRule&);

}  // namespace lastbit::infer

#include "infer/speculative.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "infer/sampling.h"

namespace lastbit::infer {
namespace {

// The vocabulary of `values` numbers in `rows` rows, drafts checked against it.
std::size_t vocabulary_of(std::size_t values, std::span<const std::int64_t> drafts) {
  const std::size_t rows = drafts.size() + 1;
  if (values == 0 || values % rows != 0)
    core::fail_input("verification: the target has {} numbers, expected {} rows for {} drafts", values, rows,
                     drafts.size());
  const std::size_t vocabulary = values / rows;
  for (std::size_t i = 0; i < drafts.size(); ++i)
    if (drafts[i] < 0 || drafts[i] >= static_cast<std::int64_t>(vocabulary))
      core::fail_input("verification: draft {} is token {}, expected 0 to {}", i, drafts[i], vocabulary - 1);
  return vocabulary;
}

void check_uniform(double u) {
  if (!(u >= 0 && u < 1)) core::fail_input("verification: a uniform number is {}, expected one in [0, 1)", u);
}

// Divides by the sum; false where there is nothing to divide.
bool normalise(std::vector<double>& weights) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (!(total > 0)) return false;
  for (double& weight : weights) weight /= total;
  return true;
}

}  // namespace

template <typename T>
Verification verify_greedy(std::span<const T> target, std::span<const std::int64_t> drafts) {
  const std::size_t vocabulary = vocabulary_of(target.size(), drafts);
  Verification result;
  for (std::size_t i = 0;; ++i) {
    result.next_token = greedy(target.subspan(i * vocabulary, vocabulary));
    if (i == drafts.size() || drafts[i] != result.next_token) return result;
    ++result.accepted;
  }
}

Verification verify_sampled(std::span<const double> target, std::span<const double> draft,
                            std::span<const std::int64_t> drafts, std::span<const double> u_accept, double u_resample) {
  const std::size_t vocabulary = vocabulary_of(target.size(), drafts);
  if (draft.size() != drafts.size() * vocabulary || u_accept.size() != drafts.size())
    core::fail_input("verification: {} drafts of {} tokens with {} probabilities and {} uniform numbers", drafts.size(),
                     vocabulary, draft.size(), u_accept.size());
  std::ranges::for_each(u_accept, check_uniform);
  check_uniform(u_resample);
  const auto p = [&](std::size_t i) { return target.subspan(i * vocabulary, vocabulary); };
  const auto q = [&](std::size_t i) { return draft.subspan(i * vocabulary, vocabulary); };
  for (std::size_t i = 0; i <= drafts.size(); ++i) check_distribution(p(i), "verification, target");
  for (std::size_t i = 0; i < drafts.size(); ++i) {
    check_distribution(q(i), "verification, draft");
    if (q(i)[static_cast<std::size_t>(drafts[i])] == 0)
      core::fail_input("verification: draft {} is token {}, which has probability 0 under the draft's distribution", i,
                       drafts[i]);
  }
  Verification result;
  std::size_t stood = 0;
  for (; stood < drafts.size(); ++stood) {
    const auto token = static_cast<std::size_t>(drafts[stood]);
    if (u_accept[stood] >= std::min(1.0, p(stood)[token] / q(stood)[token])) break;
  }
  const auto row = p(stood);
  result.residual.assign(row.begin(), row.end());
  if (stood < drafts.size())
    for (std::size_t v = 0; v < vocabulary; ++v) result.residual[v] = std::max(row[v] - q(stood)[v], 0.0);
  if (!normalise(result.residual)) {
    result.residual.assign(row.begin(), row.end());
    normalise(result.residual);
  }
  result.accepted = static_cast<std::int64_t>(stood);
  result.next_token = draw(result.residual, u_resample);
  return result;
}

template Verification verify_greedy<float>(std::span<const float>, std::span<const std::int64_t>);
template Verification verify_greedy<double>(std::span<const double>, std::span<const std::int64_t>);

}  // namespace lastbit::infer

#include "ops/affinity.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "numerics/elementary.h"
#include "numerics/reduce.h"

namespace lastbit::ops {
namespace {

float sigmoid(float x) { return numerics::sigmoid(x); }
double sigmoid(double x) { return 1 / (1 + numerics::exp(-x)); }

float row_sum(const float* x, std::int64_t count) { return numerics::sum(x, count); }

// The lanes and the tree of numerics/reduce.h, in double.
double row_sum(const double* x, std::int64_t count) {
  std::array<double, numerics::kLanes> lane{};
  for (std::int64_t i = 0; i < count; ++i) lane[static_cast<std::size_t>(i % numerics::kLanes)] += x[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// Divides the terms by their sum plus `offset` and returns the divisor.
template <typename T>
T to_shares(std::vector<T>& terms, T offset) {
  const T divisor = row_sum(terms.data(), static_cast<std::int64_t>(terms.size())) + offset;
  for (T& term : terms) term /= divisor;
  return divisor;
}

// exp(x - largest), whose sum is at least 1.
template <typename T>
std::vector<T> shifted_exponentials(const T* logits, std::int64_t columns, T largest) {
  std::vector<T> terms(logits, logits + columns);
  for (T& term : terms) term = numerics::exp(term - largest);
  return terms;
}

// sum_i x_i y_i, the products rounded first.
template <typename T>
T row_dot(const T* x, const std::vector<T>& y) {
  std::vector<T> products(y);
  for (std::size_t i = 0; i < y.size(); ++i) products[i] *= x[i];
  return row_sum(products.data(), static_cast<std::int64_t>(products.size()));
}

}  // namespace

template <typename T>
std::vector<T> affinities(const T* logits, std::int64_t columns, Affinity kind) {
  for (std::int64_t i = 0; i < columns; ++i) core::check(std::isfinite(logits[i]), "router logits are finite");
  if (columns == 0) return {};
  if (kind == Affinity::kSoftmax) {
    std::vector<T> scores = shifted_exponentials(logits, columns, *std::max_element(logits, logits + columns));
    to_shares(scores, T{0});
    return scores;
  }
  std::vector<T> scores(logits, logits + columns);
  for (T& score : scores) score = sigmoid(score);
  if (kind == Affinity::kNormalisedSigmoid) to_shares(scores, static_cast<T>(kAffinityOffset));
  return scores;
}

template <typename T>
void affinities_backward(const T* logits, std::int64_t columns, Affinity kind, const T* daffinities, T* dlogits) {
  const auto count = static_cast<std::size_t>(columns);
  if (kind == Affinity::kSoftmax) {
    const std::vector<T> shares = affinities(logits, columns, kind);
    const T mean = row_dot(daffinities, shares);
    for (std::size_t i = 0; i < count; ++i) dlogits[i] = shares[i] * (daffinities[i] - mean);
    return;
  }
  const std::vector<T> scores = affinities(logits, columns, Affinity::kSigmoid);
  T mean = 0;
  T divisor = 1;
  if (kind == Affinity::kNormalisedSigmoid) {
    std::vector<T> shares = scores;
    divisor = to_shares(shares, static_cast<T>(kAffinityOffset));
    mean = row_dot(daffinities, shares);
  }
  // score / divisor first: it is at most 1, however small both are.
  for (std::size_t i = 0; i < count; ++i)
    dlogits[i] = (daffinities[i] - mean) * (scores[i] / divisor) * (1 - scores[i]);
}

template <typename T>
T log_sum_exp(const T* logits, std::int64_t columns) {
  const T largest = *std::max_element(logits, logits + columns);
  return largest + numerics::log(row_sum(shifted_exponentials(logits, columns, largest).data(), columns));
}

template std::vector<float> affinities(const float*, std::int64_t, Affinity);
template std::vector<double> affinities(const double*, std::int64_t, Affinity);
template void affinities_backward(const float*, std::int64_t, Affinity, const float*, float*);
template void affinities_backward(const double*, std::int64_t, Affinity, const double*, double*);
template float log_sum_exp(const float*, std::int64_t);
template double log_sum_exp(const double*, std::int64_t);

}  // namespace lastbit::ops

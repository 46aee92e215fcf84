#include "ops/cross_entropy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary.h"
#include "numerics/elementary_array.h"
#include "numerics/reduce.h"
#include "ops/element_type.h"
#include "ops/matrix.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

constexpr std::int64_t kStretch = 512;  // columns whose exponentials are at hand at once
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The largest of a row, by eight lanes so that it vectorises; -inf for an empty one.
template <typename T>
T largest_of(const T* row, std::int64_t count) {
  std::array<T, numerics::kLanes> lane;
  lane.fill(-std::numeric_limits<T>::infinity());
  const std::int64_t whole = count - count % numerics::kLanes;
  for (std::int64_t base = 0; base < whole; base += numerics::kLanes)
    for (std::size_t i = 0; i < lane.size(); ++i) {
      const T value = row[base + static_cast<std::int64_t>(i)];
      lane[i] = value > lane[i] ? value : lane[i];
    }
  for (std::int64_t i = whole; i < count; ++i) lane[0] = std::max(lane[0], row[i]);
  return *std::max_element(lane.begin(), lane.end());
}

// out[i] = exp(row[i] - m); out may be the row itself.
template <typename T>
void exponentials_of(const T* row, std::int64_t count, T m, T* out) {
  const std::span<T> e(out, static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) out[i] = row[i] - m;
  numerics::exp(e, e);
}

// keep: null, or where the row's exponentials go.
template <typename T>
double sum_of_exponentials(const T* row, std::int64_t columns, T m, T* keep) {
  std::array<T, kStretch> buffer;
  std::array<double, kStretch> wide;
  double total = 0;
  for (std::int64_t first = 0; first < columns; first += kStretch) {
    const std::int64_t count = std::min(kStretch, columns - first);
    T* e = keep == nullptr ? buffer.data() : keep + first;
    exponentials_of(row + first, count, m, e);
    std::copy_n(e, count, wide.begin());
    total += numerics::sum(wide.data(), count);
  }
  return total;
}

}  // namespace

OnlineCrossEntropy::OnlineCrossEntropy(Tensor targets, std::int64_t vocabulary)
    : targets_(std::move(targets)), vocabulary_(vocabulary) {
  core::check(targets_.rank() == 1 && vocabulary > 0, "cross_entropy: targets [T] within a vocabulary");
  for (const std::int64_t target : targets_.values<std::int64_t>())
    core::check(target == kNoTarget || (target >= 0 && target < vocabulary),
                "cross_entropy: every target lies within the vocabulary, or is -1");
  const auto tokens = static_cast<std::size_t>(targets_.size());
  largest_.assign(tokens, -kInfinity);
  sum_.assign(tokens, 0);
  target_logit_.assign(tokens, -kInfinity);
}

void OnlineCrossEntropy::check_chunk(const Tensor& logits, std::int64_t first_id) const {
  core::check(logits.rank() == 2 && logits.dim(0) == targets_.size(), "cross_entropy: logits [T, columns]");
  core::check(first_id >= 0 && first_id + logits.dim(1) <= vocabulary_,
              "cross_entropy: first_id and the chunk's columns lie within the vocabulary");
  core::check(!dtype_ || *dtype_ == logits.dtype(), "cross_entropy: chunks of one type");
}

template <typename T>
void OnlineCrossEntropy::add(const Tensor& logits, std::int64_t first_id, T* exponentials) {
  const Matrix<T> in = as_matrix<T>(logits);
  const auto targets = targets_.values<std::int64_t>();
  core::parallel_for(in.rows, rows_a_task(in.columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const auto t = static_cast<std::size_t>(r);
      const T* row = in.row(r);
      const std::int64_t place = targets[t] - first_id;
      if (targets[t] != kNoTarget && place >= 0 && place < in.columns)
        target_logit_[t] = static_cast<double>(row[place]);
      const double m = std::max(largest_[t], static_cast<double>(largest_of(row, in.columns)));
      const double earlier = sum_[t] == 0 ? 0 : sum_[t] * numerics::exp(largest_[t] - m);
      // A chunk of -inf alone has no m to subtract yet, and adds nothing; a NaN in it must not hide behind that.
      const T offset = m == -kInfinity ? T{0} : static_cast<T>(m);
      T* keep = exponentials == nullptr ? nullptr : exponentials + r * in.columns;
      sum_[t] = earlier + sum_of_exponentials(row, in.columns, offset, keep);
      largest_[t] = m;
      core::check(std::isfinite(sum_[t]), "cross_entropy: logits are below +inf, and none is NaN");
    }
  });
}

void OnlineCrossEntropy::add_chunk(const Tensor& logits, std::int64_t first_id) {
  check_chunk(logits, first_id);
  core::check(first_id == next_id_, "cross_entropy: chunks come in ascending order without gaps");
  dtype_ = logits.dtype();
  with_element_type(logits.dtype(), "cross_entropy: logits are FP32 or FP64",
                    [&](auto zero) { add<decltype(zero)>(logits, first_id, nullptr); });
  next_id_ += logits.dim(1);
}

double OnlineCrossEntropy::weight_of(const LossWeights& weights, std::int64_t token) const {
  if (targets_.values<std::int64_t>()[static_cast<std::size_t>(token)] == kNoTarget) return 0;
  return weights.per_token.empty() ? weights.scale : weights.scale * weights.per_token[static_cast<std::size_t>(token)];
}

double OnlineCrossEntropy::log_sum_exp(std::int64_t token) const {
  const auto t = static_cast<std::size_t>(token);
  return largest_[t] + numerics::log(sum_[t]);
}

double OnlineCrossEntropy::nll(std::int64_t token) const {
  const auto t = static_cast<std::size_t>(token);
  return (largest_[t] - target_logit_[t]) + numerics::log(sum_[t]);
}

CrossEntropy OnlineCrossEntropy::finish(const LossWeights& weights) const {
  core::check(next_id_ == vocabulary_, "cross_entropy: the chunks cover the vocabulary");
  core::check(weights.per_token.empty() || static_cast<std::int64_t>(weights.per_token.size()) == targets_.size(),
              "cross_entropy: per_token weights [T]");
  CrossEntropy result;
  result.nll = Tensor::zeros(tensor::DType::kF64, targets_.shape());
  result.log_sum_exp = Tensor::empty(tensor::DType::kF64, targets_.shape());
  const auto target = targets_.values<std::int64_t>();
  const auto per_token = result.nll.mutable_values<double>();
  const auto normaliser = result.log_sum_exp.mutable_values<double>();
  std::vector<double> terms(target.size(), 0);
  for (std::size_t t = 0; t < target.size(); ++t) {
    const auto token = static_cast<std::int64_t>(t);
    normaliser[t] = log_sum_exp(token);
    core::check(std::isfinite(normaliser[t]), "cross_entropy: every row has a logit above -inf");
    if (target[t] == kNoTarget) continue;
    ++result.targets;
    per_token[t] = nll(token);
    core::check(std::isfinite(per_token[t]), "cross_entropy: a target's logit is above -inf");
    terms[t] = weight_of(weights, token) * (per_token[t] + weights.z_loss * normaliser[t] * normaliser[t]);
  }
  result.loss = numerics::sum(terms.data(), targets_.size());
  return result;
}

template <typename T>
void OnlineCrossEntropy::gradient(Tensor& logits, std::int64_t first_id, const LossWeights& weights,
                                  bool are_exponentials) const {
  const std::int64_t columns = logits.dim(1);
  const auto targets = targets_.values<std::int64_t>();
  T* all = logits.mutable_values<T>().data();
  core::parallel_for(logits.dim(0), rows_a_task(columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const auto t = static_cast<std::size_t>(r);
      T* row = all + r * columns;
      if (targets[t] == kNoTarget) {
        std::fill_n(row, columns, T{0});
        continue;
      }
      const double weight = weight_of(weights, r);
      const double pull = 1 + 2 * weights.z_loss * log_sum_exp(r);
      const T factor = static_cast<T>(weight * pull / sum_[t]);
      core::check(std::isfinite(factor) && std::isfinite(nll(r)),
                  "cross_entropy: the target's logit, the weight and z_loss make a finite gradient");
      for (std::int64_t first = 0; first < columns; first += kStretch) {
        const std::int64_t count = std::min(kStretch, columns - first);
        T* e = row + first;
        if (!are_exponentials) exponentials_of(e, count, static_cast<T>(largest_[t]), e);
        for (std::int64_t i = 0; i < count; ++i) e[i] *= factor;
      }
      const std::int64_t place = targets[t] - first_id;
      if (place >= 0 && place < columns) row[place] = static_cast<T>(weight * (pull * numerics::exp(-nll(r)) - 1));
    }
  });
}

void OnlineCrossEntropy::gradient_of_chunk(Tensor& logits, std::int64_t first_id, const LossWeights& weights) const {
  check_chunk(logits, first_id);
  core::check(next_id_ == vocabulary_, "cross_entropy: gradients come after the last chunk");
  core::check(weights.per_token.empty() || static_cast<std::int64_t>(weights.per_token.size()) == targets_.size(),
              "cross_entropy: per_token weights [T]");
  with_element_type(logits.dtype(), "cross_entropy: logits are FP32 or FP64",
                    [&](auto zero) { gradient<decltype(zero)>(logits, first_id, weights, false); });
}

CrossEntropy cross_entropy(const Tensor& logits, const Tensor& targets, const LossWeights& weights) {
  core::check(logits.rank() == 2, "cross_entropy: logits [T, vocabulary]");
  OnlineCrossEntropy online(targets, logits.dim(1));
  online.add_chunk(logits, 0);
  return online.finish(weights);
}

CrossEntropy cross_entropy_and_gradient(Tensor& logits, const Tensor& targets, const LossWeights& weights) {
  core::check(logits.rank() == 2, "cross_entropy: logits [T, vocabulary]");
  OnlineCrossEntropy online(targets, logits.dim(1));
  online.check_chunk(logits, 0);
  online.next_id_ = logits.dim(1);
  // One chunk: its m is final, so the exponentials of the sum are those of the gradient.
  return with_element_type(logits.dtype(), "cross_entropy: logits are FP32 or FP64", [&](auto zero) {
    using T = decltype(zero);
    online.add<T>(logits, 0, logits.mutable_values<T>().data());
    CrossEntropy result = online.finish(weights);
    online.gradient<T>(logits, 0, weights, true);
    return result;
  });
}

}  // namespace lastbit::ops

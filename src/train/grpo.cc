#include "train/grpo.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary.h"
#include "numerics/parse.h"

namespace lastbit::train {
namespace {

using tensor::DType;
using tensor::Tensor;

struct Sizes {
  std::int64_t group = 0;
  std::int64_t positions = 0;
  std::int64_t vocabulary = 0;
};

// [G, T, V] of the logits, with everything that belongs to them checked.
Sizes check_operands(const Tensor& logits, const GrpoOutputs& outputs) {
  if (logits.rank() != 3 || (logits.dtype() != DType::kF32 && logits.dtype() != DType::kF64) || logits.size() == 0)
    core::fail_input("GRPO: logits are {} {}, expected [outputs, positions, vocabulary] in f32 or f64",
                     tensor::name(logits.dtype()), tensor::to_string(logits.shape()));
  const Sizes sizes{logits.dim(0), logits.dim(1), logits.dim(2)};
  const Tensor& tokens = outputs.tokens;
  if (tokens.dtype() != DType::kI64 || tokens.shape() != tensor::Shape{sizes.group, sizes.positions})
    core::fail_input("GRPO: tokens are {} {}, expected i64 [{}, {}]", tensor::name(tokens.dtype()),
                     tensor::to_string(tokens.shape()), sizes.group, sizes.positions);
  if (std::ssize(outputs.lengths) != sizes.group)
    core::fail_input("GRPO: {} lengths for {} outputs", outputs.lengths.size(), sizes.group);
  const auto ids = tokens.values<std::int64_t>();
  for (std::int64_t i = 0; i < sizes.group; ++i) {
    const std::int64_t length = outputs.lengths[static_cast<std::size_t>(i)];
    if (length < 1 || length > sizes.positions)
      core::fail_input("GRPO: output {} has length {}, expected 1 to {}", i, length, sizes.positions);
    for (std::int64_t t = 0; t < length; ++t) {
      const std::int64_t id = ids[static_cast<std::size_t>(i * sizes.positions + t)];
      if (id < 0 || id >= sizes.vocabulary)
        core::fail_input("GRPO: token [{}, {}] is {}, expected 0 to {}", i, t, id, sizes.vocabulary - 1);
    }
  }
  return sizes;
}

// max and ln(sum of exp(x - max)) of one row.
struct RowNormaliser {
  double largest = 0;
  double log_sum = 0;

  template <typename T>
  explicit RowNormaliser(std::span<const T> row) {
    largest = static_cast<double>(*std::max_element(row.begin(), row.end()));
    double sum = 0;
    for (const T x : row) sum += numerics::exp(static_cast<double>(x) - largest);
    log_sum = numerics::log(sum);
  }
  [[nodiscard]] double log_softmax(double x) const { return (x - largest) - log_sum; }
};

// Calls body(output, position, row) for every row that is not padding.
template <typename T, typename Body>
void for_each_row(std::span<const T> logits, const Sizes& sizes, const GrpoOutputs& outputs, const Body& body) {
  core::parallel_for(sizes.group * sizes.positions, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r)
      if (r % sizes.positions < outputs.lengths[static_cast<std::size_t>(r / sizes.positions)])
        body(static_cast<std::size_t>(r), logits.subspan(static_cast<std::size_t>(r * sizes.vocabulary),
                                                         static_cast<std::size_t>(sizes.vocabulary)));
  });
}

// [G * T] in double; 0 for padding.
template <typename T>
std::vector<double> log_probabilities(const Tensor& logits, const Sizes& sizes, const GrpoOutputs& outputs) {
  std::vector<double> result(static_cast<std::size_t>(sizes.group * sizes.positions));
  const auto ids = outputs.tokens.values<std::int64_t>();
  for_each_row(logits.values<T>(), sizes, outputs, [&](std::size_t r, std::span<const T> row) {
    result[r] = RowNormaliser(row).log_softmax(static_cast<double>(row[static_cast<std::size_t>(ids[r])]));
  });
  for (std::size_t r = 0; r < result.size(); ++r)
    if (!std::isfinite(result[r]))
      core::fail_input("GRPO: the logits of output {}, position {} give ln(pi) = {}, expected a finite number",
                       r / static_cast<std::size_t>(sizes.positions), r % static_cast<std::size_t>(sizes.positions),
                       result[r]);
  return result;
}

// One ratio's term of J, and its derivative by ln(pi).
struct Term {
  double surrogate = 0;
  double k3 = 0;
  double derivative = 0;
  bool clipped = false;
};

Term term_of(double log_pi, double log_old, double log_reference, double advantage, const GrpoRule& rule) {
  Term term;
  const double ratio = numerics::exp(log_pi - log_old);
  const double clipped = std::clamp(ratio, 1 - rule.clip_range, 1 + rule.clip_range);
  // Not min(r A, clip(r) A): r may be infinite and A zero.
  term.clipped = advantage > 0 ? ratio > clipped : advantage < 0 && ratio < clipped;
  term.surrogate = advantage == 0 ? 0 : (term.clipped ? clipped : ratio) * advantage;
  const double log_ratio = log_reference - log_pi;
  const double reference_ratio = numerics::exp(log_ratio);
  term.k3 = reference_ratio - log_ratio - 1;
  term.derivative = (term.clipped ? 0 : term.surrogate) - rule.kl_weight * (1 - reference_ratio);
  return term;
}

// The loss without its gradient by logits, and the loss's derivative by ln(pi) of every token.
struct Objective {
  GrpoLoss result;
  std::vector<double> derivatives;  // [G * T]
};

struct LogProbabilities {
  std::vector<double> policy, old, reference;  // [G * T]
};

Objective objective_of(const LogProbabilities& log, std::span<const double> advantages, const Sizes& sizes,
                       const GrpoOutputs& outputs, const GrpoRule& rule) {
  const bool whole = rule.reading == GrpoReading::kSequence;
  const auto positions = static_cast<std::size_t>(sizes.positions);
  Objective objective;
  objective.derivatives.resize(log.policy.size());
  objective.result.k3.resize(whole ? advantages.size() : log.policy.size());
  double valid = 0;
  for (const std::int64_t length : outputs.lengths) valid += static_cast<double>(length);
  double reward = 0;
  double terms = 0;
  double clipped = 0;
  for (std::size_t i = 0; i < advantages.size(); ++i) {
    const auto length = static_cast<std::size_t>(outputs.lengths[i]);
    double weight = 1 / static_cast<double>(sizes.group);
    if (rule.reading == GrpoReading::kToken) weight /= static_cast<double>(length);
    if (rule.reading == GrpoReading::kTokenMean) weight = 1 / valid;
    const auto add = [&](double log_pi, double log_old, double log_reference, std::size_t k3_place) {
      const Term term = term_of(log_pi, log_old, log_reference, advantages[i], rule);
      reward += weight * term.surrogate;
      objective.result.kl += weight * term.k3;
      objective.result.k3[k3_place] = term.k3;
      terms += 1;
      clipped += term.clipped ? 1 : 0;
      return -weight * term.derivative;
    };
    const std::size_t begin = i * positions;
    if (whole) {
      double sums[3] = {};
      for (std::size_t r = begin; r < begin + length; ++r) {
        sums[0] += log.policy[r];
        sums[1] += log.old[r];
        sums[2] += log.reference[r];
      }
      std::fill_n(objective.derivatives.begin() + static_cast<std::ptrdiff_t>(begin), length,
                  add(sums[0], sums[1], sums[2], i));
    } else {
      for (std::size_t r = begin; r < begin + length; ++r)
        objective.derivatives[r] = add(log.policy[r], log.old[r], log.reference[r], r);
    }
  }
  objective.result.loss = rule.kl_weight * objective.result.kl - reward;
  objective.result.clipped_share = clipped / terms;
  if (!std::isfinite(objective.result.loss))
    core::fail_input("GRPO: the loss is {}: the policy is too far from the old one or the reference",
                     objective.result.loss);
  return objective;
}

// [G, T] of logits' dtype as doubles; padding as 0.
template <typename T>
std::vector<double> read_given(const Tensor& given, const char* what, const Tensor& logits, const Sizes& sizes,
                               const GrpoOutputs& outputs) {
  if (given.dtype() != logits.dtype() || given.shape() != tensor::Shape{sizes.group, sizes.positions})
    core::fail_input("GRPO: {} log probabilities are {} {}, expected {} [{}, {}]", what, tensor::name(given.dtype()),
                     tensor::to_string(given.shape()), tensor::name(logits.dtype()), sizes.group, sizes.positions);
  const auto values = given.values<T>();
  std::vector<double> result(values.size());
  for (std::int64_t i = 0; i < sizes.group; ++i)
    for (std::int64_t t = 0; t < outputs.lengths[static_cast<std::size_t>(i)]; ++t) {
      const auto r = static_cast<std::size_t>(i * sizes.positions + t);
      if (!(values[r] <= 0) || !std::isfinite(values[r]))
        core::fail_input("GRPO: {} log probability [{}, {}] is {}, expected a finite number of at most 0", what, i, t,
                         values[r]);
      result[r] = static_cast<double>(values[r]);
    }
  return result;
}

template <typename T>
GrpoLoss loss_in(const Tensor& logits, const Tensor& old_log_probabilities, const Tensor& reference_log_probabilities,
                 std::span<const double> advantages, const GrpoOutputs& outputs, const GrpoRule& rule,
                 const Sizes& sizes) {
  LogProbabilities log;
  log.policy = log_probabilities<T>(logits, sizes, outputs);
  log.old = read_given<T>(old_log_probabilities, "old", logits, sizes, outputs);
  log.reference = read_given<T>(reference_log_probabilities, "reference", logits, sizes, outputs);
  Objective objective = objective_of(log, advantages, sizes, outputs, rule);
  Tensor gradient = Tensor::zeros(logits.dtype(), logits.shape());
  const auto out = gradient.mutable_values<T>();
  const auto ids = outputs.tokens.values<std::int64_t>();
  for_each_row(logits.values<T>(), sizes, outputs, [&](std::size_t r, std::span<const T> row) {
    // d ln softmax(x)[token] / dx_v = [v = token] - softmax(x)[v]
    const RowNormaliser normaliser(row);
    for (std::size_t v = 0; v < row.size(); ++v) {
      const double hit = static_cast<std::int64_t>(v) == ids[r] ? 1 : 0;
      const double share = numerics::exp(normaliser.log_softmax(static_cast<double>(row[v])));
      out[r * row.size() + v] = static_cast<T>(objective.derivatives[r] * (hit - share));
    }
  });
  objective.result.gradient = std::move(gradient);
  return std::move(objective.result);
}

}  // namespace

GrpoReading find_grpo_reading(std::string_view name) {
  return static_cast<GrpoReading>(numerics::require_name("reading of GRPO", name, {"token", "seq", "tokmean"}));
}

GroupDeviation find_group_deviation(std::string_view name) {
  return static_cast<GroupDeviation>(numerics::require_name("deviation of rewards", name, {"popstd", "sampstd"}));
}

std::vector<double> group_advantages(std::span<const double> rewards, GroupDeviation deviation) {
  const bool sample = deviation == GroupDeviation::kSample;
  if (rewards.size() < (sample ? 2 : 1))
    core::fail_input("GRPO: a group of {} rewards, expected {} or more", rewards.size(), sample ? 2 : 1);
  const auto count = static_cast<double>(rewards.size());
  double mean = 0;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    if (!std::isfinite(rewards[i])) core::fail_input("GRPO: reward {} is {}, expected a finite number", i, rewards[i]);
    mean += rewards[i];
  }
  mean /= count;
  double squares = 0;
  for (const double reward : rewards) squares += (reward - mean) * (reward - mean);
  const double spread = std::sqrt(squares / (sample ? count - 1 : count)) + 1e-8;
  std::vector<double> advantages(rewards.begin(), rewards.end());
  for (double& value : advantages) value = (value - mean) / spread;
  return advantages;
}

Tensor token_log_probabilities(const Tensor& logits, const GrpoOutputs& outputs) {
  const Sizes sizes = check_operands(logits, outputs);
  const std::vector<double> values = logits.dtype() == DType::kF64 ? log_probabilities<double>(logits, sizes, outputs)
                                                                   : log_probabilities<float>(logits, sizes, outputs);
  const tensor::Shape shape{sizes.group, sizes.positions};
  if (logits.dtype() == DType::kF64) return Tensor::from<double>(shape, values);
  Tensor result = Tensor::empty(DType::kF32, shape);
  std::ranges::transform(values, result.mutable_values<float>().begin(),
                         [](double value) { return static_cast<float>(value); });
  return result;
}

GrpoLoss grpo_loss(const Tensor& logits, const Tensor& old_log_probabilities, const Tensor& reference_log_probabilities,
                   std::span<const double> advantages, const GrpoOutputs& outputs, const GrpoRule& rule) {
  const Sizes sizes = check_operands(logits, outputs);
  if (std::ssize(advantages) != sizes.group)
    core::fail_input("GRPO: {} advantages for {} outputs", advantages.size(), sizes.group);
  for (std::size_t i = 0; i < advantages.size(); ++i)
    if (!std::isfinite(advantages[i]))
      core::fail_input("GRPO: advantage {} is {}, expected a finite number", i, advantages[i]);
  if (!(rule.clip_range >= 0) || !(rule.kl_weight >= 0) || !std::isfinite(rule.clip_range + rule.kl_weight))
    core::fail_input("GRPO: clip_range {} and kl_weight {}, expected finite numbers of 0 or more", rule.clip_range,
                     rule.kl_weight);
  const auto loss = logits.dtype() == DType::kF64 ? loss_in<double> : loss_in<float>;
  return loss(logits, old_log_probabilities, reference_log_probabilities, advantages, outputs, rule, sizes);
}

}  // namespace lastbit::train

#include "ops/balance.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "ops/router.h"

namespace lastbit::ops {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr std::int64_t kTokensARange = 32;

// Tokens in sequences of equal length, each with its own f and P.
struct Sequences {
  std::int64_t count = 0;
  std::int64_t length = 0;
};

Sequences sequences_of(std::int64_t tokens, std::int64_t tokens_a_sequence) {
  if (tokens == 0) return {0, 0};
  const std::int64_t length = tokens_a_sequence == 0 ? tokens : tokens_a_sequence;
  core::check(length > 0 && tokens % length == 0, "balance loss: sequences of one length");
  return {tokens / length, length};
}

Affinity shares(Affinity affinity) { return affinity == Affinity::kSigmoid ? Affinity::kNormalisedSigmoid : affinity; }

// [sequences, experts]: mean share of each expert, in FP64, token after token.
template <typename T>
Tensor mean_shares(const BalanceInput& input, Sequences sequences) {
  const std::int64_t columns = input.logits.dim(1);
  const std::int64_t experts = columns - input.shared_logits;
  const T* logits = input.logits.values<T>().data();
  Tensor result = Tensor::zeros(DType::kF64, {sequences.count, experts});
  double* mean = result.mutable_values<double>().data();
  core::parallel_for(sequences.count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin * sequences.length; t < end * sequences.length; ++t) {
      const std::vector<T> row = affinities(logits + t * columns, columns, shares(input.affinity));
      double* target = mean + t / sequences.length * experts;
      for (std::int64_t e = 0; e < experts; ++e)
        target[e] += static_cast<double>(row[static_cast<std::size_t>(input.shared_logits + e)]);
    }
    for (std::int64_t i = begin * experts; i < end * experts; ++i) mean[i] /= static_cast<double>(sequences.length);
  });
  return result;
}

// dL/dlogits where dL/dP_i is `slope` [sequences, experts].
template <typename T>
Tensor gradient(const BalanceInput& input, Sequences sequences, const std::vector<double>& slope) {
  const std::int64_t columns = input.logits.dim(1);
  const std::int64_t experts = columns - input.shared_logits;
  const T* logits = input.logits.values<T>().data();
  Tensor result = Tensor::empty(input.logits.dtype(), input.logits.shape());
  T* out = result.mutable_values<T>().data();
  const auto length = static_cast<double>(sequences.length);
  core::parallel_for(input.logits.dim(0), kTokensARange, [&](std::int64_t begin, std::int64_t end) {
    std::vector<T> dshares(static_cast<std::size_t>(columns), T{0});
    for (std::int64_t t = begin; t < end; ++t) {
      const double* source = slope.data() + t / sequences.length * experts;
      for (std::int64_t e = 0; e < experts; ++e)
        dshares[static_cast<std::size_t>(input.shared_logits + e)] = static_cast<T>(source[e] / length);
      affinities_backward(logits + t * columns, columns, shares(input.affinity), dshares.data(), out + t * columns);
    }
  });
  return result;
}

// Sums of `parts` equal runs of each row: [sequences, experts] -> [sequences, parts].
Tensor sum_by_device(const Tensor& by_expert, std::int64_t devices) {
  const std::int64_t experts = by_expert.dim(1);
  const std::int64_t members = experts / devices;
  Tensor result = Tensor::zeros(DType::kF64, {by_expert.dim(0), devices});
  const auto source = by_expert.values<double>();
  const auto target = result.mutable_values<double>();
  for (std::size_t i = 0; i < source.size(); ++i) target[i / static_cast<std::size_t>(members)] += source[i];
  return result;
}

// alpha * mean over sequences of sum f P, and its gradient; f [sequences, experts or devices].
BalanceLoss finish(const BalanceInput& input, Sequences sequences, Tensor f) {
  BalanceLoss result;
  const bool wide = input.logits.dtype() == DType::kF64;
  const Tensor by_expert = wide ? mean_shares<double>(input, sequences) : mean_shares<float>(input, sequences);
  result.p = f.dim(1) == by_expert.dim(1) ? by_expert : sum_by_device(by_expert, f.dim(1));
  const auto counts = f.values<double>();
  const auto means = result.p.values<double>();
  double total = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) total += counts[i] * means[i];
  const double factor = sequences.count == 0 ? 0 : input.alpha / static_cast<double>(sequences.count);
  result.loss = factor * total;

  std::vector<double> slope(static_cast<std::size_t>(by_expert.size()));
  const auto members = static_cast<std::size_t>(by_expert.dim(1) / f.dim(1));
  for (std::size_t i = 0; i < slope.size(); ++i) slope[i] = factor * counts[i / members];
  result.dlogits = wide ? gradient<double>(input, sequences, slope) : gradient<float>(input, sequences, slope);
  result.f = std::move(f);
  return result;
}

// [sequences, experts]: how many of the sequence's slots hold the expert, times `unit`.
Tensor expert_counts(const Tensor& choice, std::int64_t experts, Sequences sequences, double unit) {
  Tensor result = Tensor::zeros(DType::kF64, {sequences.count, experts});
  const auto counts = result.mutable_values<double>();
  const auto chosen = choice.values<std::int64_t>();
  for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
    if (chosen[slot] < 0) continue;
    core::check(chosen[slot] < experts, "balance loss: a choice among the experts");
    const std::int64_t token = static_cast<std::int64_t>(slot) / choice.dim(1);
    counts[static_cast<std::size_t>(token / sequences.length * experts + chosen[slot])] += 1;
  }
  for (double& count : counts) count *= unit;
  return result;
}

// [sequences, devices]: how many of the sequence's tokens have an expert on the device, times `unit`.
Tensor tokens_by_device(const Tensor& choice, std::int64_t experts, std::int64_t devices, Sequences sequences,
                        double unit) {
  Tensor result = Tensor::zeros(DType::kF64, {sequences.count, devices});
  const auto counts = result.mutable_values<double>();
  const auto chosen = choice.values<std::int64_t>();
  const std::int64_t top_k = choice.dim(1);
  std::vector<bool> met(static_cast<std::size_t>(devices));
  for (std::int64_t t = 0; t < choice.dim(0); ++t) {
    std::fill(met.begin(), met.end(), false);
    for (std::int64_t slot = t * top_k; slot < (t + 1) * top_k; ++slot) {
      const std::int64_t expert = chosen[static_cast<std::size_t>(slot)];
      if (expert < 0) continue;
      const std::int64_t device = expert / (experts / devices);
      if (!met[static_cast<std::size_t>(device)])
        counts[static_cast<std::size_t>(t / sequences.length * devices + device)] += 1;
      met[static_cast<std::size_t>(device)] = true;
    }
  }
  for (double& count : counts) count *= unit;
  return result;
}

std::int64_t experts_of(const BalanceInput& input) {
  core::check(input.logits.rank() == 2 && input.choice.rank() == 2 && input.choice.dim(0) == input.logits.dim(0) &&
                  input.choice.dim(1) > 0,
              "balance loss: logits [tokens, experts], choice [tokens, K]");
  return input.logits.dim(1) - input.shared_logits;
}

// N / (K T).
double count_unit(std::int64_t experts, std::int64_t top_k, Sequences sequences) {
  return static_cast<double>(experts) / static_cast<double>(top_k * std::max<std::int64_t>(sequences.length, 1));
}

template <typename T>
BalanceLoss z_loss_as(const Tensor& logits, double coefficient) {
  const std::int64_t tokens = logits.dim(0);
  const std::int64_t columns = logits.dim(1);
  const T* in = logits.values<T>().data();
  BalanceLoss result;
  result.dlogits = Tensor::empty(logits.dtype(), logits.shape());
  T* out = result.dlogits.template mutable_values<T>().data();
  std::vector<double> squares(static_cast<std::size_t>(tokens));
  const double factor = tokens == 0 ? 0 : coefficient / static_cast<double>(tokens);
  core::parallel_for(tokens, kTokensARange, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const auto z = static_cast<double>(log_sum_exp(in + t * columns, columns));
      squares[static_cast<std::size_t>(t)] = z * z;
      const std::vector<T> slope = affinities(in + t * columns, columns, Affinity::kSoftmax);
      for (std::int64_t e = 0; e < columns; ++e)
        out[t * columns + e] = static_cast<T>(2 * factor * z) * slope[static_cast<std::size_t>(e)];
    }
  });
  for (const double square : squares) result.loss += factor * square;
  return result;
}

}  // namespace

Tensor unbiased_choice(const Tensor& logits, Affinity affinity, std::int64_t top_k, std::int64_t shared_logits) {
  RouterRule rule;
  rule.affinity = affinity;
  rule.top_k = top_k;
  rule.shared_logits = shared_logits;
  return route(logits, nullptr, rule).chosen;
}

BalanceLoss expert_balance_loss(const BalanceInput& input) {
  const std::int64_t experts = experts_of(input);
  const Sequences sequences = sequences_of(input.logits.dim(0), input.tokens_a_sequence);
  return finish(input, sequences,
                expert_counts(input.choice, experts, sequences, count_unit(experts, input.choice.dim(1), sequences)));
}

BalanceLoss device_balance_loss(const BalanceInput& input, std::int64_t devices) {
  const std::int64_t experts = experts_of(input);
  core::check(devices > 0 && experts % devices == 0, "balance loss: devices divide the experts");
  const Sequences sequences = sequences_of(input.logits.dim(0), input.tokens_a_sequence);
  Tensor f = sum_by_device(
      expert_counts(input.choice, experts, sequences, count_unit(experts, input.choice.dim(1), sequences)), devices);
  const std::int64_t members = experts / devices;
  for (double& value : f.mutable_values<double>()) value /= static_cast<double>(members);
  return finish(input, sequences, std::move(f));
}

BalanceLoss communication_balance_loss(const BalanceInput& input, std::int64_t devices, std::int64_t kept_devices) {
  const std::int64_t experts = experts_of(input);
  core::check(devices > 0 && experts % devices == 0 && kept_devices > 0, "balance loss: devices divide the experts");
  const Sequences sequences = sequences_of(input.logits.dim(0), input.tokens_a_sequence);
  return finish(
      input, sequences,
      tokens_by_device(input.choice, experts, devices, sequences, count_unit(devices, kept_devices, sequences)));
}

BalanceLoss gshard_loss(const Tensor& logits, double alpha, std::int64_t tokens_a_group) {
  const auto experts = static_cast<double>(logits.dim(1));
  const Tensor first = unbiased_choice(logits, Affinity::kSoftmax, 1);
  // With K = 1, f_i = E / S * c_i: one factor 1 / E undoes it, the other is the loss's own.
  return expert_balance_loss({logits, first, Affinity::kSoftmax, alpha / experts / experts, tokens_a_group});
}

BalanceLoss switch_loss(const Tensor& logits, double alpha) {
  const Tensor first = unbiased_choice(logits, Affinity::kSoftmax, 1);
  return expert_balance_loss({logits, first, Affinity::kSoftmax, alpha});
}

BalanceLoss router_z_loss(const Tensor& logits, double coefficient) {
  core::check(logits.rank() == 2 && logits.dim(1) > 0, "z-loss: logits [tokens, experts]");
  return logits.dtype() == DType::kF64 ? z_loss_as<double>(logits, coefficient) : z_loss_as<float>(logits, coefficient);
}

}  // namespace lastbit::ops

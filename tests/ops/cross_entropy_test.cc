#include "ops/cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "numerics/elementary.h"
#include "numerics/reduce.h"
#include "operator_checks.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;
using Targets = std::vector<std::int64_t>;

Tensor targets_of(const Targets& targets) {
  return Tensor::from<std::int64_t>({static_cast<std::int64_t>(targets.size())}, targets);
}

// Every fifth token is without a target.
Tensor some_targets(std::int64_t tokens, std::int64_t vocabulary) {
  Targets targets;
  for (std::int64_t t = 0; t < tokens; ++t) targets.push_back(t % 5 == 3 ? kNoTarget : t * 7 % vocabulary);
  return targets_of(targets);
}

// Uniform in +-20.
Tensor wide_logits(std::int64_t tokens, std::int64_t vocabulary) {
  Tensor logits = random_tensor("logits", {tokens, vocabulary});
  for (float& value : logits.mutable_values<float>()) value *= 20;
  return logits;
}

// lse by the definition in long double.
long double log_sum_exp(const double* row, std::int64_t columns) {
  long double sum = 0;
  for (std::int64_t i = 0; i < columns; ++i) sum += std::exp(static_cast<long double>(row[i]));
  return std::log(sum);
}

TEST(CrossEntropy, AgreesWithTheDefinition) {
  const Tensor logits = random_f64("logits", {6, 40});
  const Tensor targets = some_targets(6, 40);
  const std::vector<double> per_token = {1, 2, 0, 4, -0.5, 3};
  const CrossEntropy result = cross_entropy(logits, targets, {0.25, per_token, 0.1});
  EXPECT_EQ(result.targets, 5);
  long double loss = 0;
  for (std::int64_t t = 0; t < 6; ++t) {
    const auto i = static_cast<std::size_t>(t);
    const double* row = logits.values<double>().data() + t * 40;
    const long double lse = log_sum_exp(row, 40);
    EXPECT_NEAR(result.log_sum_exp.values<double>()[i], static_cast<double>(lse), 1e-14);
    const std::int64_t target = targets.values<std::int64_t>()[i];
    const long double nll = target == kNoTarget ? 0 : lse - static_cast<long double>(row[target]);
    EXPECT_NEAR(result.nll.values<double>()[i], static_cast<double>(nll), 1e-14);
    if (target != kNoTarget) loss += 0.25L * static_cast<long double>(per_token[i]) * (nll + 0.1L * lse * lse);
  }
  EXPECT_NEAR(result.loss, static_cast<double>(loss), 1e-13);
}

TEST(CrossEntropy, GradientIsThatOfDifferences) {
  for (const auto& [tokens, vocabulary] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {1, 2}, {5, 9}, {0, 4}}) {
    const Tensor logits = random_f64("logits", {tokens, vocabulary});
    const Tensor targets = some_targets(tokens, vocabulary);
    std::vector<double> per_token;
    for (std::int64_t t = 0; t < tokens; ++t) per_token.push_back(1 + 0.3 * static_cast<double>(t));
    for (const LossWeights& weights :
         {LossWeights{}, LossWeights{0.5, {}, 0.2}, LossWeights{0.7, per_token, 0}, LossWeights{1, per_token, 0.01}}) {
      Tensor gradient = logits.clone();
      const CrossEntropy result = cross_entropy_and_gradient(gradient, targets, weights);
      EXPECT_EQ(result.loss, cross_entropy(logits, targets, weights).loss);
      expect_gradient(
          gradient, logits, [&](const Tensor& moved) { return cross_entropy(moved, targets, weights).loss; }, "logits");
    }
  }
}

// The rounding that the header states, with plain loops; 1100 columns are three stretches. In FP64 the gradient's last
// bits show those of the sum.
template <typename T>
void expect_documented_rounding(const Tensor& logits) {
  constexpr std::int64_t kColumns = 1100;
  const Tensor targets = targets_of({17, 1099, kNoTarget, 600});
  const double z = 0.001;
  Tensor gradient = logits.clone();
  const CrossEntropy result = cross_entropy_and_gradient(gradient, targets, {0.125, {}, z});
  std::vector<double> terms;
  for (std::size_t t = 0; t < 4; ++t) {
    const auto row = logits.values<T>().subspan(t * kColumns, kColumns);
    const auto found = gradient.template values<T>().subspan(t * kColumns, kColumns);
    const T m = *std::ranges::max_element(row);
    std::vector<T> e;
    for (const T x : row) e.push_back(numerics::exp(x - m));
    const std::vector<double> wide(e.begin(), e.end());
    const double s = (numerics::sum(wide.data(), 512) + numerics::sum(wide.data() + 512, 512)) +
                     numerics::sum(wide.data() + 1024, kColumns - 1024);
    const double lse = static_cast<double>(m) + numerics::log(s);
    EXPECT_EQ(result.log_sum_exp.values<double>()[t], lse);
    const std::int64_t id = targets.values<std::int64_t>()[t];
    if (id == kNoTarget) {
      EXPECT_TRUE(std::ranges::all_of(found, [](T x) { return x == 0; }));
      terms.push_back(0);
      continue;
    }
    const auto target = static_cast<std::size_t>(id);
    const double nll = (static_cast<double>(m) - static_cast<double>(row[target])) + numerics::log(s);
    EXPECT_EQ(result.nll.values<double>()[t], nll);
    terms.push_back(0.125 * (nll + z * lse * lse));
    const double pull = 1 + 2 * z * lse;
    const T factor = static_cast<T>(0.125 * pull / s);
    for (std::size_t i = 0; i < kColumns; ++i)
      EXPECT_EQ(found[i], i == target ? static_cast<T>(0.125 * (pull * numerics::exp(-nll) - 1)) : e[i] * factor);
  }
  EXPECT_EQ(result.loss, numerics::sum(terms.data(), 4));
}

TEST(CrossEntropy, FollowsTheDocumentedRounding) {
  expect_documented_rounding<float>(wide_logits(4, 1100));
  expect_documented_rounding<double>(random_f64("logits", {4, 1100}));
}

TEST(CrossEntropy, Fp32AgreesWithFp64) {
  const Tensor logits = wide_logits(8, 700);
  Tensor wide = Tensor::empty(tensor::DType::kF64, logits.shape());
  std::ranges::copy(logits.values<float>(), wide.mutable_values<double>().begin());
  const Tensor targets = some_targets(8, 700);
  Tensor gradient = logits.clone();
  const CrossEntropy narrow = cross_entropy_and_gradient(gradient, targets);
  const CrossEntropy oracle = cross_entropy_and_gradient(wide, targets);
  // x - m is below 40 and so rounded by at most 2^-20; few logits near the largest weigh more than e^-8.
  EXPECT_NEAR(narrow.loss, oracle.loss, 1e-6);
  for (std::size_t i = 0; i < wide.values<double>().size(); ++i)
    EXPECT_NEAR(static_cast<double>(gradient.values<float>()[i]), wide.values<double>()[i], 5e-7);
}

struct Chunked {
  CrossEntropy result;
  Tensor gradient;
};

// The whole vocabulary in chunks that end at `ends`.
Chunked in_chunks(const Tensor& logits, const Tensor& targets, const Targets& ends, const LossWeights& weights) {
  OnlineCrossEntropy online(targets, logits.dim(1));
  std::int64_t first = 0;
  for (const std::int64_t end : ends) {
    online.add_chunk(logits.slice(1, first, end).contiguous(), first);
    first = end;
  }
  Chunked chunked{online.finish(weights), Tensor::empty(logits.dtype(), logits.shape())};
  first = 0;
  for (const std::int64_t end : ends) {
    Tensor chunk = logits.slice(1, first, end).clone();
    online.gradient_of_chunk(chunk, first, weights);
    const auto source = chunk.values<float>();
    for (std::int64_t t = 0; t < logits.dim(0); ++t)
      std::copy_n(source.data() + t * (end - first), end - first,
                  chunked.gradient.mutable_values<float>().data() + t * logits.dim(1) + first);
    first = end;
  }
  return chunked;
}

TEST(CrossEntropy, ChunksAgreeWithTheWhole) {
  const Tensor logits = wide_logits(9, 300);
  const Tensor targets = some_targets(9, 300);
  const LossWeights weights{1.0 / 8, {}, 1e-3};
  Tensor gradient = logits.clone();
  const CrossEntropy whole = cross_entropy_and_gradient(gradient, targets, weights);
  const Chunked one = in_chunks(logits, targets, {300}, weights);
  EXPECT_TRUE(same_bits(one.result.nll, whole.nll));
  EXPECT_TRUE(same_bits(one.gradient, gradient));
  for (const Targets& ends : {Targets{1, 2, 300}, Targets{100, 100, 200, 300}, Targets{299, 300}}) {
    const Chunked chunked = in_chunks(logits, targets, ends, weights);
    // Sums of 300 doubles, in which the earlier chunks' exponentials were those of float differences from another m:
    // 40 * 2^-24 relative.
    EXPECT_NEAR(chunked.result.loss, whole.loss, 3e-6);
    for (std::int64_t i = 0; i < logits.size(); ++i)
      EXPECT_NEAR(static_cast<double>(at(chunked.gradient, i)), static_cast<double>(at(gradient, i)), 5e-7);
  }
}

// Logits whose differences from any m are exact in float: chunks then differ by roundings in double alone.
TEST(CrossEntropy, ChunksAgreeToTheLastDoubleBitsInFp64) {
  Tensor logits = random_f64("logits", {7, 90});
  for (double& value : logits.mutable_values<double>()) value *= 10;
  const Tensor targets = some_targets(7, 90);
  const CrossEntropy whole = cross_entropy(logits, targets);
  OnlineCrossEntropy online(targets, 90);
  for (std::int64_t first = 0; first < 90; first += 15)
    online.add_chunk(logits.slice(1, first, first + 15).contiguous(), first);
  const CrossEntropy chunked = online.finish();
  EXPECT_EQ(chunked.targets, whole.targets);
  for (std::size_t t = 0; t < 7; ++t)
    EXPECT_NEAR(chunked.nll.values<double>()[t], whole.nll.values<double>()[t], 4e-14);
}

TEST(CrossEntropy, HugeAndMaskedLogits) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {1e30F, -1e30F, 1e30F, -kInf, -kInf, 3};
  Tensor logits = Tensor::from<float>({2, 3}, values);
  const Tensor targets = targets_of({0, 2});
  const Chunked chunked = in_chunks(logits, targets, {1, 2, 3}, {});  // the second row's first chunks are all -inf
  const CrossEntropy result = cross_entropy_and_gradient(logits, targets);
  EXPECT_NEAR(result.nll.values<double>()[0], std::log(2.0), 1e-15);
  EXPECT_EQ(result.nll.values<double>()[1], 0);
  EXPECT_EQ(std::vector<float>(logits.values<float>().begin(), logits.values<float>().end()),
            (std::vector<float>{-0.5F, 0, 0.5F, 0, 0, 0}));
  EXPECT_TRUE(same_bits(chunked.gradient, logits));
  EXPECT_TRUE(same_bits(chunked.result.nll, result.nll));
}

TEST(CrossEntropy, NeitherThreadsNorOtherTokensChangeABit) {
  const Tensor logits = wide_logits(200, 400);
  const Tensor targets = some_targets(200, 400);
  expect_threads_change_no_bit([&] {
    Tensor gradient = logits.clone();
    const CrossEntropy result = cross_entropy_and_gradient(gradient, targets);
    const Tensor loss = Tensor::from<double>({1}, std::span(&result.loss, 1));
    return std::vector<Tensor>{result.nll, result.log_sum_exp, loss, gradient};
  });
  Tensor some = logits.slice(0, 20, 31).clone();
  static_cast<void>(cross_entropy_and_gradient(some, targets.slice(0, 20, 31)));
  Tensor all = logits.clone();
  static_cast<void>(cross_entropy_and_gradient(all, targets));
  EXPECT_TRUE(same_bits(some, all.slice(0, 20, 31)));
}

TEST(CrossEntropy, RefusesWhatHasNoLoss) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const auto loss_of = [](const std::vector<float>& row, std::int64_t target) {
    const auto columns = static_cast<std::int64_t>(row.size());
    static_cast<void>(cross_entropy(Tensor::from<float>({1, columns}, row), targets_of({target})));
  };
  EXPECT_NO_THROW(loss_of({1, 2}, 1));
  EXPECT_THROW(loss_of({1, 2}, 2), core::Error);
  EXPECT_THROW(loss_of({1, 2}, -2), core::Error);
  EXPECT_THROW(loss_of({1, std::nanf("")}, 0), core::Error);
  EXPECT_THROW(loss_of({-kInf, std::nanf("")}, kNoTarget), core::Error);
  EXPECT_THROW(loss_of({1, kInf}, 0), core::Error);
  EXPECT_THROW(loss_of({1, -kInf}, 1), core::Error);
  EXPECT_THROW(loss_of({-kInf, -kInf}, kNoTarget), core::Error);
  OnlineCrossEntropy online(targets_of({0}), 4);
  Tensor chunk = random_tensor("chunk", {1, 2});
  EXPECT_THROW(online.add_chunk(chunk, 2), core::Error) << "a gap";
  online.add_chunk(chunk, 0);
  EXPECT_THROW(online.add_chunk(random_f64("chunk", {1, 2}), 2), core::Error) << "another type";
  EXPECT_THROW(static_cast<void>(online.finish()), core::Error) << "half of the vocabulary";
  EXPECT_THROW(online.gradient_of_chunk(chunk, 0), core::Error);
  online.add_chunk(chunk, 2);
  const std::vector<double> two = {1, 1};
  EXPECT_THROW(static_cast<void>(online.finish({1, two, 0})), core::Error);
}

}  // namespace
}  // namespace lastbit::ops

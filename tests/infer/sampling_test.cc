#include "infer/sampling.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/error.h"

namespace lastbit::infer {
namespace {

using Probabilities = std::vector<double>;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Probabilities of(const std::vector<double>& logits, const SamplingRule& rule = {}) {
  return sampling_probabilities<double>(logits, rule);
}

std::vector<double> logs(std::vector<double> values) {
  for (double& value : values) value = std::log(value);
  return values;
}

void expect_near(const Probabilities& found, const Probabilities& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i], expected[i], 1e-14) << i;
    if (expected[i] == 0) {
      EXPECT_EQ(found[i], 0);
    }
  }
}

TEST(Greedy, TakesTheLowestOfTheLargest) {
  EXPECT_EQ(greedy<float>(std::vector<float>{1, 3, 2, 3}), 1);
  EXPECT_EQ(greedy<double>(std::vector<double>{-kInfinity, -5, -5}), 1);
  EXPECT_EQ(greedy<float>(std::vector<float>{-1}), 0);
}

TEST(Sampling, TemperatureSharpensAndFlattens) {
  expect_near(of(logs({0.2, 0.3, 0.5})), {0.2, 0.3, 0.5});
  expect_near(of(logs({0.2, 0.3, 0.5}), {0.5}), {0.04 / 0.38, 0.09 / 0.38, 0.25 / 0.38});
  expect_near(of({3, 7, 7, 1}, {0}), {0, 1, 0, 0});
  expect_near(of({1e300, -1e300, 1e300}, {1e-300}), {0.5, 0, 0.5});
}

TEST(Sampling, TopKKeepsTies) {
  expect_near(of(logs({0.1, 0.4, 0.3, 0.2}), {1, 2}), {0, 4.0 / 7, 3.0 / 7, 0});
  expect_near(of({1, 2, 1, 1}, {1, 2}), of({1, 2, 1, 1}));
  expect_near(of({1, 2, 3}, {1, 3}), of({1, 2, 3}));
  expect_near(of({1, 2, 3}, {1, 100}), of({1, 2, 3}));
}

TEST(Sampling, TopPLeavesOutTheTail) {
  const std::vector<double> logits = logs({0.125, 0.5, 0.25, 0.125});
  expect_near(of(logits, {1, 0, 0.9}), {0.125, 0.5, 0.25, 0.125});
  // 0.125 <= 1 - 0.8 goes, and so the higher id of the two equals; 0.25 in all do not.
  expect_near(of(logits, {1, 0, 0.8}), {0.125 / 0.875, 0.5 / 0.875, 0.25 / 0.875, 0});
  expect_near(of(logits, {1, 0, 0.7}), {0, 2.0 / 3, 1.0 / 3, 0});
  expect_near(of(logits, {1, 0, 1e-9}), {0, 1, 0, 0});
  expect_near(of({5, 5, 5}, {1, 0, 1e-9}), {1, 0, 0});
  // After top_k: 2/3 and 1/3.
  expect_near(of(logits, {1, 2, 0.6}), {0, 1, 0, 0});
}

TEST(Sampling, BarredTokensStayBarred) {
  for (const SamplingRule& rule : {SamplingRule{}, SamplingRule{2, 3}, SamplingRule{0.5, 0, 0.99}}) {
    const Probabilities found = of({-kInfinity, 1, -kInfinity, 1}, rule);
    expect_near(found, {0, 0.5, 0, 0.5});
  }
}

TEST(Sampling, Fp32LogitsAreTheirValues) {
  const std::vector<float> single{0.1F, -2.7F, 3.3F};
  EXPECT_EQ(sampling_probabilities<float>(single, {0.7, 2, 0.9}),
            of(std::vector<double>(single.begin(), single.end()), {0.7, 2, 0.9}));
}

// The warpers as they are written: ascending sort, cumulative sums of a softmax, a mask.
RC_GTEST_PROP(SamplingProperty, AgreesWithAPlainReading, ()) {
  const auto numbers = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(-40, 40)));
  const double temperature = *rc::gen::inRange(1, 30) / 10.0;
  const auto top_k = *rc::gen::inRange<std::int64_t>(0, 8);
  const double top_p = *rc::gen::inRange(1, 101) / 100.0;
  std::vector<double> weights;
  for (const int n : numbers) weights.push_back(std::exp(n / 10.0 / temperature));
  std::vector<std::size_t> order(weights.size());
  std::iota(order.begin(), order.end(), 0UL);
  std::ranges::sort(
      order, [&](std::size_t a, std::size_t b) { return numbers[a] != numbers[b] ? numbers[a] < numbers[b] : a > b; });
  if (top_k > 0 && top_k < std::ssize(order)) {
    const int least = numbers[order[order.size() - static_cast<std::size_t>(top_k)]];
    for (std::size_t i = 0; i < weights.size(); ++i)
      if (numbers[i] < least) weights[i] = 0;
  }
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double cumulative = 0;
  for (std::size_t i = 0; i + 1 < order.size() && top_p < 1; ++i) {
    cumulative += weights[order[i]] / total;
    RC_PRE(std::abs(cumulative - (1 - top_p)) > 1e-12);  // decided by rounding
    if (cumulative > 1 - top_p) break;
    weights[order[i]] = 0;
  }
  const double kept = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<double> logits;
  for (const int n : numbers) logits.push_back(n / 10.0);
  const Probabilities found = of(logits, {temperature, top_k, top_p});
  for (std::size_t i = 0; i < weights.size(); ++i) RC_ASSERT(std::abs(found[i] - weights[i] / kept) < 1e-12);
}

TEST(Draw, CountsTheCumulativeSumsUpToU) {
  const Probabilities p{0, 0.25, 0, 0.5, 0.25, 0};
  EXPECT_EQ(draw(p, 0), 1);
  EXPECT_EQ(draw(p, std::nextafter(0.25, 0)), 1);
  EXPECT_EQ(draw(p, 0.25), 3);
  EXPECT_EQ(draw(p, 0.75), 4);
  EXPECT_EQ(draw(p, std::nextafter(1.0, 0)), 4);
  // A sum that rounding left below u.
  EXPECT_EQ(draw(Probabilities{0.5, 0.5 - 1e-7, 0}, std::nextafter(1.0, 0)), 1);
}

TEST(Draw, RefusesWhatIsNoDistribution) {
  for (const Probabilities& p : {Probabilities{}, {0.5, 0.4}, {0.7, 0.7}, {1.5, -0.5}, {1, std::nan("")}, {kInfinity}})
    EXPECT_THROW((void)draw(p, 0.5), core::Error);
  for (const double u : {-0.1, 1.0, std::nan("")}) EXPECT_THROW((void)draw(Probabilities{1}, u), core::Error);
}

TEST(Sampling, RefusesWhatHasNoMeaning) {
  for (const std::vector<double>& logits :
       {std::vector<double>{}, {1, std::nan("")}, {1, kInfinity}, {-kInfinity, -kInfinity}}) {
    EXPECT_THROW((void)of(logits), core::Error);
    EXPECT_THROW((void)greedy<double>(logits), core::Error);
  }
  for (const SamplingRule& rule :
       {SamplingRule{-1}, {std::nan("")}, {kInfinity}, {1, -1}, {1, 0, 0}, {1, 0, 1.1}, {1, 0, std::nan("")}})
    EXPECT_THROW((void)of({1, 2}, rule), core::Error);
}

TEST(Uniform, HasFiftyThreeBitsOfItsOwnWords) {
  const core::RandomStream stream(9, "sample");
  const double u = uniform(stream, 21);
  EXPECT_EQ(std::floor(u * 0x1p32), stream.word(42));
  EXPECT_EQ(u * 0x1p53 - std::floor(u * 0x1p32) * 0x1p21, stream.word(43) >> 11);
}

}  // namespace
}  // namespace lastbit::infer

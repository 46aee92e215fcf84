#include "train/grpo.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"

namespace lastbit::train {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr GrpoReading kReadings[] = {GrpoReading::kToken, GrpoReading::kSequence, GrpoReading::kTokenMean};

Tensor drawn(const tensor::Shape& shape, const std::string& name, double scale) {
  Tensor result = Tensor::empty(DType::kF64, shape);
  const core::RandomStream stream(6, name);
  std::uint64_t i = 0;
  for (double& value : result.mutable_values<double>()) value = scale * (2 * stream.uniform(i++) - 1);
  return result;
}

Tensor in_f32(const Tensor& x) {
  Tensor result = Tensor::empty(DType::kF32, x.shape());
  std::ranges::transform(x.values<double>(), result.mutable_values<float>().begin(),
                         [](double value) { return static_cast<float>(value); });
  return result;
}

// A group whose policy, old policy and reference differ by `apart`.
struct Group {
  GrpoOutputs outputs;
  Tensor logits, old, reference;
  std::vector<double> advantages;

  Group(std::int64_t count, std::int64_t positions, std::int64_t vocabulary, double apart) {
    const std::string name = std::to_string(count) + "." + std::to_string(positions) + "." + std::to_string(vocabulary);
    const core::RandomStream stream(7, name);
    outputs.tokens = Tensor::empty(DType::kI64, {count, positions});
    std::uint64_t word = 0;
    for (std::int64_t& id : outputs.tokens.mutable_values<std::int64_t>())
      id = static_cast<std::int64_t>(stream.word(word++)) % vocabulary;
    std::vector<double> rewards;
    for (std::int64_t i = 0; i < count; ++i) {
      outputs.lengths.push_back(1 + static_cast<std::int64_t>(stream.word(word++)) % positions);
      rewards.push_back(static_cast<double>(stream.word(word++) % 5));
    }
    const tensor::Shape shape{count, positions, vocabulary};
    logits = drawn(shape, name + "logits", 2);
    old = token_log_probabilities(moved(logits, drawn(shape, name + "old", apart)), outputs);
    reference = token_log_probabilities(moved(logits, drawn(shape, name + "reference", apart)), outputs);
    advantages = group_advantages(rewards, GroupDeviation::kPopulation);
  }
  static Tensor moved(const Tensor& a, const Tensor& b) {
    Tensor result = a.clone();
    for (std::size_t i = 0; i < b.values<double>().size(); ++i)
      result.mutable_values<double>()[i] += b.values<double>()[i];
    return result;
  }
  [[nodiscard]] GrpoLoss loss(const Tensor& policy, const GrpoRule& rule) const {
    return grpo_loss(policy, old, reference, advantages, outputs, rule);
  }
};

// Central differences with step h: truncation h^2 and rounding 1e-16 / h of values of order 1, so 1e-7 has two orders
// to spare at h = 1e-6. Ratios within h of the clip's edge would be in the way; the draws have none.
TEST(Grpo, GradientsAgreeWithCentralDifferences) {
  constexpr double kStep = 1e-6;
  double clipped = 0;
  for (const auto& [count, positions, vocabulary] :
       {std::tuple{1, 1, 1}, std::tuple{2, 3, 5}, std::tuple{5, 4, 3}, std::tuple{3, 1, 7}})
    for (const GrpoReading reading : kReadings) {
      const Group group(count, positions, vocabulary, 0.5);
      const GrpoRule rule{reading, 0.2, 0.3};
      const GrpoLoss at = group.loss(group.logits, rule);
      clipped += at.clipped_share;
      for (std::int64_t i = 0; i < group.logits.size(); ++i) {
        const auto place = static_cast<std::size_t>(i);
        const auto shifted = [&](double step) {
          Tensor moved = group.logits.clone();
          moved.mutable_values<double>()[place] += step;
          return group.loss(moved, rule).loss;
        };
        const double difference = (shifted(kStep) - shifted(-kStep)) / (2 * kStep);
        ASSERT_NEAR(at.gradient.values<double>()[place], difference, 1e-7) << count << " " << i;
      }
    }
  EXPECT_GT(clipped, 0) << "the clip took part";
}

TEST(Grpo, OnPolicyItIsThePolicyGradient) {
  const Group group(4, 6, 9, 0);
  const GrpoLoss at = group.loss(group.logits, {GrpoReading::kToken, 0.2, 0.04});
  EXPECT_NEAR(at.kl, 0, 1e-15);
  EXPECT_EQ(at.clipped_share, 0);
  EXPECT_NEAR(at.loss, 0, 1e-14);  // advantages add to 0
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t t = 0; t < 6; ++t) {
      const auto row = group.logits.values<double>().subspan((i * 6 + t) * 9, 9);
      double total = 0;
      for (const double x : row) total += std::exp(x);
      const auto length = static_cast<std::size_t>(group.outputs.lengths[i]);
      const auto token = static_cast<std::size_t>(group.outputs.tokens.values<std::int64_t>()[i * 6 + t]);
      for (std::size_t v = 0; v < 9; ++v) {
        const double score = (v == token ? 1 : 0) - std::exp(row[v]) / total;
        const double expected = t < length ? -group.advantages[i] * score / (4 * static_cast<double>(length)) : 0;
        ASSERT_NEAR(at.gradient.values<double>()[(i * 6 + t) * 9 + v], expected, 1e-15);
      }
    }
}

TEST(Grpo, ReadingsAgreeWhereTheyMust) {
  Group group(4, 1, 9, 0.3);  // outputs of one token
  const GrpoLoss token = group.loss(group.logits, {GrpoReading::kToken, 0.2, 0.04});
  for (const GrpoReading reading : kReadings) {
    const GrpoLoss other = group.loss(group.logits, {reading, 0.2, 0.04});
    EXPECT_NEAR(other.loss, token.loss, 1e-15);
    EXPECT_NEAR(other.kl, token.kl, 1e-15);
  }
}

TEST(Grpo, PaddingIsReadByNobody) {
  const Group group(3, 5, 6, 0.4);
  Group other = group;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  other.logits = group.logits.clone();
  other.old = group.old.clone();
  other.reference = group.reference.clone();
  other.outputs.tokens = group.outputs.tokens.clone();
  std::size_t padding = 0;
  for (std::size_t i = 0; i < 3; ++i)
    for (auto t = static_cast<std::size_t>(group.outputs.lengths[i]); t < 5; ++t, ++padding) {
      other.old.mutable_values<double>()[i * 5 + t] = nan;
      other.reference.mutable_values<double>()[i * 5 + t] = 3;
      other.outputs.tokens.mutable_values<std::int64_t>()[i * 5 + t] = -100;
      for (std::size_t v = 0; v < 6; ++v) other.logits.mutable_values<double>()[(i * 5 + t) * 6 + v] = nan;
    }
  ASSERT_GT(padding, 0u);
  for (const GrpoReading reading : kReadings) {
    const GrpoLoss a = group.loss(group.logits, {reading, 0.2, 0.04});
    const GrpoLoss b = other.loss(other.logits, {reading, 0.2, 0.04});
    EXPECT_EQ(a.loss, b.loss);
    EXPECT_EQ(a.k3, b.k3);
    EXPECT_TRUE(std::ranges::equal(a.gradient.values<double>(), b.gradient.values<double>()));
  }
}

TEST(Grpo, Fp32IsTheRoundedResult) {
  const Group group(4, 5, 30, 0.3);
  for (const GrpoReading reading : kReadings) {
    const GrpoRule rule{reading, 0.2, 0.04};
    const GrpoLoss exact = group.loss(group.logits, rule);
    const GrpoLoss single = grpo_loss(in_f32(group.logits), in_f32(group.old), in_f32(group.reference),
                                      group.advantages, group.outputs, rule);
    ASSERT_EQ(single.gradient.dtype(), DType::kF32);
    // Operands of magnitude up to 8 rounded to 2^-24: 5e-7 in exponents, five summed in the sequence reading.
    EXPECT_NEAR(single.loss, exact.loss, 1e-5);
    for (std::size_t i = 0; i < exact.gradient.values<double>().size(); ++i)
      ASSERT_NEAR(static_cast<double>(single.gradient.values<float>()[i]), exact.gradient.values<double>()[i], 1e-5);
  }
}

TEST(Grpo, ThreadsDoNotMatter) {
  const Group group(4, 5, 30, 0.3);
  std::vector<GrpoLoss> results;
  for (const int threads : {1, 3}) {
    core::set_num_threads(threads);
    results.push_back(group.loss(group.logits, {}));
  }
  core::set_num_threads(0);
  EXPECT_EQ(results[0].loss, results[1].loss);
  EXPECT_TRUE(std::ranges::equal(results[0].gradient.values<double>(), results[1].gradient.values<double>()));
}

TEST(Grpo, AdvantagesOfAGroup) {
  const std::vector<double> rewards{1, 0, 0, 1};
  const std::vector<double> population = group_advantages(rewards, GroupDeviation::kPopulation);
  EXPECT_NEAR(population[0], 1, 3e-8);  // 0.5 / (0.5 + 1e-8)
  EXPECT_NEAR(population[1], -1, 3e-8);
  EXPECT_NEAR(group_advantages(rewards, GroupDeviation::kSample)[3], std::sqrt(0.75), 3e-8);
  EXPECT_EQ(group_advantages(std::vector<double>{2, 2, 2}, GroupDeviation::kSample), (std::vector<double>{0, 0, 0}));
  EXPECT_THROW((void)group_advantages(std::vector<double>{1}, GroupDeviation::kSample), core::Error);
  EXPECT_THROW((void)group_advantages({}, GroupDeviation::kPopulation), core::Error);
  EXPECT_THROW((void)group_advantages(std::vector<double>{1, std::nan("")}, GroupDeviation::kSample), core::Error);
}

TEST(Grpo, RefusesWhatDoesNotFit) {
  const Group good(2, 3, 4, 0.3);
  const auto refused = [&](const auto& spoil) {
    Group group = good;
    group.logits = good.logits.clone();
    group.old = good.old.clone();
    group.outputs.tokens = good.outputs.tokens.clone();
    group.outputs.lengths = {3, 3};
    GrpoRule rule;
    spoil(group, rule);
    try {
      (void)group.loss(group.logits, rule);
    } catch (const core::Error& error) {
      return error.kind() == core::ErrorKind::kInput;
    }
    return false;
  };
  EXPECT_FALSE(refused([](Group& g, GrpoRule&) { g.outputs.lengths = {1, 1}; }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.outputs.lengths = {0, 3}; }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.outputs.lengths = {3, 4}; }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.outputs.lengths = {3}; }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.outputs.tokens.mutable_values<std::int64_t>()[0] = 4; }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.outputs.tokens.mutable_values<std::int64_t>()[0] = -1; }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.logits.mutable_values<double>()[2] = std::nan(""); }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.old.mutable_values<double>()[0] = 0.5; }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.old.mutable_values<double>()[0] = std::nan(""); }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.old = in_f32(g.old); }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.old = g.old.reshape({3, 2}); }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.logits = g.logits.reshape({6, 4}); }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.advantages = {1}; }));
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) { g.advantages = {1, std::nan("")}; }));
  EXPECT_TRUE(refused([](Group&, GrpoRule& rule) { rule.clip_range = -0.1; }));
  EXPECT_TRUE(refused([](Group&, GrpoRule& rule) { rule.kl_weight = std::nan(""); }));
  // A ratio beyond the largest double with a negative advantage.
  EXPECT_TRUE(refused([](Group& g, GrpoRule&) {
    g.old.mutable_values<double>()[0] = -1000;
    g.advantages = {-1, 1};
  }));
  EXPECT_FALSE(refused([](Group& g, GrpoRule&) {
    g.old.mutable_values<double>()[0] = -1000;  // with a positive one the clip takes it
    g.advantages = {1, -1};
  }));
}

TEST(Grpo, Names) {
  EXPECT_EQ(find_grpo_reading("seq"), GrpoReading::kSequence);
  EXPECT_EQ(find_grpo_reading("tokmean"), GrpoReading::kTokenMean);
  EXPECT_EQ(find_group_deviation("sampstd"), GroupDeviation::kSample);
  EXPECT_THROW((void)find_grpo_reading("tok"), core::Error);
  EXPECT_THROW((void)find_group_deviation("std"), core::Error);
}

}  // namespace
}  // namespace lastbit::train

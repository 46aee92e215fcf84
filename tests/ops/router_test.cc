#include "ops/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "ops/linear.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;
using Indices = std::vector<std::int64_t>;

Tensor logits_of(const std::vector<float>& affinities) {  // inverse of the sigmoid
  std::vector<float> logits;
  for (const float s : affinities) logits.push_back(std::log(s / (1 - s)));
  return Tensor::from<float>({1, static_cast<std::int64_t>(logits.size())}, logits);
}

Tensor row(const std::vector<float>& values) {
  return Tensor::from<float>({1, static_cast<std::int64_t>(values.size())}, values);
}

Indices chosen(const Routing& routing, std::int64_t token = 0) {
  const std::int64_t k = routing.experts.dim(1);
  const auto all = routing.experts.values<std::int64_t>();
  return {all.begin() + token * k, all.begin() + (token + 1) * k};
}

// Worked example of DeepSeek-V3's gate: the affinities [0.608, 0.392, 0.540] and K = 2 choose experts 1 and 3.
TEST(Router, WorkedExampleOfV3) {
  RouterRule rule;
  rule.top_k = 2;
  const Routing routing = route(logits_of({0.608F, 0.392F, 0.540F}), nullptr, rule);
  EXPECT_EQ(chosen(routing), (Indices{0, 2}));
  EXPECT_NEAR(at(routing.weights, 0), 0.5296, 1e-4);
  EXPECT_NEAR(at(routing.weights, 1), 0.4704, 1e-4);
}

// Worked example of DeepSeekMoE: four experts, the first shared; the softmax runs over all four.
TEST(Router, WorkedExampleOfDeepSeekMoE) {
  const std::vector<float> tokens = {0.2F, 0.6F, 0.9F, 0.1F, -0.2F, 0.8F};
  const std::vector<float> centroids = {0.5F, 0.5F, 0.1F, 0.9F, 0.9F, 0.1F, -0.3F, 0.7F};
  const LinearNumerics fp32;
  const Tensor logits =
      linear({Tensor::from<float>({3, 2}, tokens), fp32, {}}, Tensor::from<float>({4, 2}, centroids), fp32, {});
  RouterRule rule;
  rule.affinity = Affinity::kSoftmax;
  rule.normalise = false;
  rule.shared_logits = 1;
  const Routing routing = route(logits, nullptr, rule);
  EXPECT_EQ(chosen(routing, 0), Indices{0});  // e2: the first after the shared one
  EXPECT_EQ(chosen(routing, 1), Indices{1});  // e3
  EXPECT_EQ(chosen(routing, 2), Indices{0});  // e2
  EXPECT_NEAR(at(routing.weights, 0), 0.29, 0.005);
  rule.top_k = 3;
  const Routing all = route(logits, nullptr, rule);
  EXPECT_NEAR(at(all.weights, 1), 0.21, 0.005);
  EXPECT_NEAR(at(all.weights, 2), 0.24, 0.005);

  rule.top_k = 1;
  rule.shared_logits = 0;  // section 3's rule: the softmax over the routed experts alone
  const Routing routed = route(logits.slice(1, 1, 4).contiguous(), nullptr, rule);
  EXPECT_EQ(chosen(routed, 0), Indices{0});
  EXPECT_NEAR(at(routed.weights, 0), 0.2944 / (1 - 0.2508), 1e-3);
}

TEST(Router, TiesGoToTheLowerIndex) {
  RouterRule rule;
  rule.top_k = 3;
  EXPECT_EQ(chosen(route(row({1, 2, 1, 1, 2, 1}), nullptr, rule)), (Indices{0, 1, 4}));
  rule.group_rank = GroupRank::kTopTwo;
  rule.groups = 3;
  rule.kept_groups = 1;
  rule.top_k = 1;
  EXPECT_EQ(chosen(route(row({0, 1, 1, 0, 0, 1}), nullptr, rule)), Indices{1});
}

TEST(Router, BiasChoosesButDoesNotWeigh) {
  RouterRule rule;
  rule.top_k = 1;
  rule.normalise = false;
  rule.scale = 2.5;
  const Tensor bias = row({0, 0, 1});
  const Routing routing = route(logits_of({0.9F, 0.5F, 0.25F}), &bias, rule);
  EXPECT_EQ(chosen(routing), Indices{2});
  EXPECT_NEAR(at(routing.weights, 0), 2.5 * 0.25, 1e-6);
}

TEST(Router, GroupsAreRankedByTwoBestOrByTheBest) {
  // Group 0 holds the best expert, group 1 the best pair.
  const Tensor logits = row({3, -3, 2, 2});
  RouterRule rule;
  rule.groups = 2;
  rule.kept_groups = 1;
  rule.top_k = 2;
  rule.group_rank = GroupRank::kTopTwo;
  EXPECT_EQ(chosen(route(logits, nullptr, rule)), (Indices{2, 3}));
  rule.group_rank = GroupRank::kMax;
  EXPECT_EQ(chosen(route(logits, nullptr, rule)), (Indices{0, 1}));
}

TEST(Router, NegativeBiasedAffinitiesStayInTheKeptGroup) {
  RouterRule rule;
  rule.groups = 2;
  rule.kept_groups = 1;
  rule.top_k = 2;
  rule.group_rank = GroupRank::kTopTwo;
  const Tensor bias = row({-5, -5, -6, -6});
  EXPECT_EQ(chosen(route(row({0, 0, 4, 4}), &bias, rule)), (Indices{0, 1}));
}

// Against a plain reading of equations 12 to 16: sort everything, no cleverness.
TEST(Router, AgreesWithAPlainReading) {
  constexpr std::int64_t kTokens = 200;
  constexpr std::int64_t kExperts = 24;
  const Tensor logits = random_tensor("logits", {kTokens, kExperts});
  const Tensor bias = random_tensor("bias", {kExperts});
  RouterRule rule;
  rule.groups = 6;
  rule.kept_groups = 3;
  rule.top_k = 5;
  rule.group_rank = GroupRank::kTopTwo;
  rule.scale = 2.5;
  const Routing routing = route(logits, &bias, rule);
  for (std::int64_t t = 0; t < kTokens; ++t) {
    std::vector<double> s;
    std::vector<std::pair<double, std::int64_t>> groups;
    for (std::int64_t e = 0; e < kExperts; ++e)
      s.push_back(1 / (1 + std::exp(-static_cast<double>(at(logits, t * kExperts + e)))));
    const auto biased = [&](std::int64_t e) {
      return s[static_cast<std::size_t>(e)] + static_cast<double>(at(bias, e));
    };
    for (std::int64_t g = 0; g < 6; ++g) {
      std::vector<double> members;
      for (std::int64_t i = 0; i < 4; ++i) members.push_back(biased(g * 4 + i));
      std::ranges::sort(members, std::greater<>());
      groups.emplace_back(-(members[0] + members[1]), g);
    }
    std::ranges::sort(groups);
    std::vector<std::pair<double, std::int64_t>> candidates;
    for (std::size_t rank = 0; rank < 3; ++rank)
      for (std::int64_t i = 0; i < 4; ++i)
        candidates.emplace_back(-biased(groups[rank].second * 4 + i), groups[rank].second * 4 + i);
    std::ranges::sort(candidates);
    Indices expected;
    double total = 0;
    for (std::size_t i = 0; i < 5; ++i) expected.push_back(candidates[i].second);
    std::ranges::sort(expected);
    for (const std::int64_t e : expected) total += s[static_cast<std::size_t>(e)];
    ASSERT_EQ(chosen(routing, t), expected) << t;
    for (std::size_t i = 0; i < 5; ++i)
      EXPECT_NEAR(static_cast<double>(at(routing.weights, t * 5 + static_cast<std::int64_t>(i))),
                  2.5 * s[static_cast<std::size_t>(expected[i])] / total, 1e-6);
  }
}

TEST(Router, RefusesWhatIsNotFinite) {
  EXPECT_THROW(static_cast<void>(route(row({0, std::numeric_limits<float>::quiet_NaN()}), nullptr, {})), core::Error);
}

}  // namespace
}  // namespace lastbit::ops

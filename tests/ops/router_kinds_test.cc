// The routers beyond a plain top K: what they choose, what they drop, and how they draw.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "ops/cost.h"
#include "ops/router.h"
#include "random_tensor.h"
#include "routing_gradient.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;
using Indices = std::vector<std::int64_t>;

Tensor logs(tensor::Shape shape, std::vector<double> shares) {  // logits whose softmax are these shares
  for (double& share : shares) share = std::log(share);
  return Tensor::from<double>(std::move(shape), shares);
}

Indices all(const Tensor& tensor) {
  const auto values = tensor.values<std::int64_t>();
  return {values.begin(), values.end()};
}

void expect_weights(const Routing& routing, const std::vector<double>& expected) {
  const auto weights = routing.weights.values<double>();
  ASSERT_EQ(weights.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(weights[i], expected[i], 1e-14) << i;
}

RouterRule softmax_rule(std::int64_t top_k, bool normalise) {
  RouterRule rule;
  rule.affinity = Affinity::kSoftmax;
  rule.top_k = top_k;
  rule.normalise = normalise;
  return rule;
}

// M = 1. K = 2: two members count, as in the release; K = 3: three do, and the other group wins.
TEST(RouterKinds, PublishedGroupRankSumsTopKOverM) {
  const Tensor logits = Tensor::from<double>({1, 9}, std::vector<double>{9, 9, -9, 8, 8, 8, -9, -9, -9});
  RouterRule rule;
  rule.group_rank = GroupRank::kTopShare;
  rule.groups = 3;
  rule.kept_groups = 1;
  rule.top_k = 2;
  EXPECT_EQ(all(route(logits, nullptr, rule).experts), (Indices{0, 1}));
  rule.top_k = 3;
  EXPECT_EQ(all(route(logits, nullptr, rule).experts), (Indices{3, 4, 5}));
  rule.group_rank = GroupRank::kTopTwo;
  EXPECT_EQ(all(route(logits, nullptr, rule).experts), (Indices{0, 1, 2}));
}

// Affinities 0.5, bias -1 everywhere but for expert 1: the kept group {0, 1} holds one biased affinity above 0, and of
// the masked zeros expert 2 is the first.
TEST(RouterKinds, MaskedExpertsMayCompeteWithZero) {
  const Tensor logits = Tensor::zeros(tensor::DType::kF64, {1, 4});
  const Tensor bias = Tensor::from<double>({4}, std::vector<double>{-1, 1, -1, -1});
  RouterRule rule;
  rule.group_rank = GroupRank::kTopTwo;
  rule.groups = 2;
  rule.kept_groups = 1;
  rule.top_k = 2;
  EXPECT_EQ(all(route(logits, &bias, rule).experts), (Indices{0, 1}));
  rule.masked_at_zero = true;
  const Routing routing = route(logits, &bias, rule);
  EXPECT_EQ(all(routing.experts), (Indices{1, 2}));
  expect_weights(routing, {0.5, 0.5});
}

TEST(RouterKinds, SwitchTakesTokensInOrderUpToTheCapacity) {
  const Tensor logits = logs({4, 2}, {0.9, 0.1, 0.6, 0.4, 0.3, 0.7, 0.8, 0.2});
  RouterRule rule = softmax_rule(1, false);
  rule.capacity_factor = 1;  // ceil(1 * 1 * 4 / 2) = 2
  const Routing routing = route(logits, nullptr, rule);
  EXPECT_EQ(all(routing.experts), (Indices{0, 0, 1, -1}));
  EXPECT_EQ(all(routing.chosen), (Indices{0, 0, 1, 0}));
  EXPECT_EQ(routing.dropped, 1);
  expect_weights(routing, {0.9, 0.6, 0.7, 0});
}

TEST(RouterKinds, FirstChoicesComeBeforeSecondChoices) {
  // Token 0 wants 0 then 1, tokens 1 and 2 want 1 then 0; capacity ceil(0.5 * 2 * 3 / 2) = 2.
  const Tensor logits = logs({3, 2}, {0.8, 0.2, 0.3, 0.7, 0.4, 0.6});
  RouterRule rule = softmax_rule(2, true);
  rule.capacity_factor = 0.5;
  const Routing routing = route(logits, nullptr, rule);
  // First choices: 0 takes token 0; 1 takes tokens 1, 2 and is full. Second: 0's token finds 1 full; token 1 gets 0.
  EXPECT_EQ(all(routing.experts), (Indices{0, -1, 0, 1, 1, -1}));
  EXPECT_EQ(routing.dropped, 2);
  expect_weights(routing, {0.8, 0, 0.3, 0.7, 0.6, 0});
}

TEST(RouterKinds, CapacityRoundsUp) {
  EXPECT_EQ(expert_capacity(1.0, 2, 16, 4), 8);
  EXPECT_EQ(expert_capacity(1.25, 1, 10, 4), 4);  // 3.125
  EXPECT_EQ(expert_capacity(1.0, 2, 0, 4), 0);
}

// 2 g2 > u: a share of 0.5 or more is always kept, 0.2 in two of five.
TEST(RouterKinds, GShardKeepsTheSecondInProportionToItsGate) {
  constexpr std::int64_t kTokens = 20000;
  std::vector<double> shares;
  for (std::int64_t t = 0; t < kTokens; ++t) shares.insert(shares.end(), {0.2 * 0.9, 0.8 * 0.9, 0.1});
  const Tensor logits = logs({kTokens, 3}, shares);
  RouterRule rule = softmax_rule(2, true);
  rule.random_second = true;
  RouteContext context;
  context.seed = 1;
  const Routing routing = route(logits, nullptr, rule, context);
  // Binomial: standard deviation sqrt(20000 * 0.4 * 0.6) = 69.
  EXPECT_NEAR(static_cast<double>(kTokens - routing.skipped), 0.4 * kTokens, 5 * 69);
  EXPECT_EQ(routing.dropped, 0);
  const auto experts = routing.experts.values<std::int64_t>();
  for (std::size_t t = 0; t < static_cast<std::size_t>(kTokens); ++t) {
    const bool kept = experts[2 * t + 1] >= 0;
    ASSERT_EQ(experts[2 * t], kept ? 0 : 1);
    ASSERT_NEAR(routing.weights.values<double>()[2 * t], kept ? 0.2 : 0.8, 1e-14);  // over the two, kept or not
  }
  // The draw belongs to the token's place in the batch, not to the call.
  context.first_token = 100;
  const Routing part = route(logits.slice(0, 100, 200).contiguous(), nullptr, rule, context);
  EXPECT_EQ(all(part.experts), all(routing.experts.slice(0, 100, 200).contiguous()));
  context.step = 1;
  EXPECT_NE(all(route(logits.slice(0, 100, 200).contiguous(), nullptr, rule, context).experts), all(part.experts));
}

TEST(RouterKinds, WhoIsSkippedAtRandomTakesNoPlace) {
  // All want expert 0 first and 1 second with share 0.2; 1 takes two of ten: exactly two, as about four are not
  // skipped.
  std::vector<double> shares;
  for (int t = 0; t < 10; ++t) shares.insert(shares.end(), {0.8, 0.2});
  RouterRule rule = softmax_rule(2, true);
  rule.random_second = true;
  rule.capacity_factor = 0.2;  // ceil(0.2 * 2 * 10 / 2)
  RouteContext context;
  context.seed = 3;
  const Routing routing = route(logs({10, 2}, shares), nullptr, rule, context);
  const Indices experts = all(routing.experts);
  ASSERT_LT(routing.skipped, 8);
  EXPECT_EQ(std::ranges::count(experts, 0), 2);
  EXPECT_EQ(std::ranges::count(experts, 1), 2);
  EXPECT_EQ(routing.skipped + routing.dropped, 16);
}

TEST(RouterKinds, HashIsAFixedEvenFunctionOfTheId) {
  constexpr std::int64_t kTokens = 6000;
  Tensor ids = Tensor::empty(tensor::DType::kI64, {kTokens});
  std::int64_t next = 0;
  for (std::int64_t& id : ids.mutable_values<std::int64_t>()) id = next++ / 2;  // every id twice
  RouterRule rule;
  rule.selection = Selection::kHash;
  RouteContext context;
  context.token_ids = &ids;
  const Tensor logits = Tensor::zeros(tensor::DType::kF64, {kTokens, 6});
  const Routing routing = route(logits, nullptr, rule, context);
  const Indices experts = all(routing.experts);
  for (std::size_t t = 0; t < experts.size(); t += 2) ASSERT_EQ(experts[t], experts[t + 1]);
  for (std::int64_t e = 0; e < 6; ++e)  // 3000 ids over 6: 500 each, standard deviation 20; each counted twice
    EXPECT_NEAR(static_cast<double>(std::ranges::count(experts, e)), 1000, 2 * 5 * 20);
  for (const double weight : routing.weights.values<double>()) ASSERT_EQ(weight, 1);
  context.step = 9;
  EXPECT_EQ(all(route(logits, nullptr, rule, context).experts), experts);
  context.layer = 1;
  EXPECT_NE(all(route(logits, nullptr, rule, context).experts), experts);
}

TEST(RouterKinds, TopPTakesTheSmallestSetThatReachesP) {
  const Tensor logits = logs({3, 4}, {0.125, 0.5, 0.125, 0.25, 0.25, 0.25, 0.25, 0.25, 0.01, 0.01, 0.97, 0.01});
  RouterRule rule = softmax_rule(3, false);
  rule.selection = Selection::kTopP;
  rule.top_p = 0.7;
  const Routing routing = route(logits, nullptr, rule);
  EXPECT_EQ(all(routing.experts), (Indices{1, 3, -1, 0, 1, 2, 2, -1, -1}));
  EXPECT_EQ(routing.dropped, 0);
  expect_weights(routing, {0.5, 0.25, 0, 0.25, 0.25, 0.25, 0.97, 0, 0});
  rule.normalise = true;
  expect_weights(route(logits, nullptr, rule), {2. / 3, 1. / 3, 0, 1. / 3, 1. / 3, 1. / 3, 1, 0, 0});
  rule.top_k = 1;  // K_max binds
  EXPECT_EQ(all(route(logits, nullptr, rule).experts), (Indices{1, 0, 2}));
}

TEST(RouterKinds, TopPOfNormalisedSigmoids) {
  // Sigmoids 1/2, 3/4, 1/4 of sum 3/2: shares 1/3, 1/2, 1/6.
  const Tensor logits = Tensor::from<double>({1, 3}, std::vector<double>{0, std::log(3), -std::log(3)});
  RouterRule rule;
  rule.affinity = Affinity::kNormalisedSigmoid;
  rule.selection = Selection::kTopP;
  rule.normalise = false;
  rule.top_p = 0.8;
  rule.top_k = 3;
  const Routing routing = route(logits, nullptr, rule);
  EXPECT_EQ(all(routing.experts), (Indices{0, 1, -1}));
  expect_weights(routing, {1. / 3, 1. / 2, 0});
  rule.affinity = Affinity::kSigmoid;
  EXPECT_THROW(static_cast<void>(route(logits, nullptr, rule)), core::Error);
}

TEST(RouterKinds, DevicesDropTheLowestAffinityFirst) {
  // Two devices of two experts; three of four tokens go to device 0, whose share is ceil(1 * 4 / 2) = 2.
  const Tensor logits = logs({4, 4}, {0.5, 0.2, 0.2, 0.1, 0.1, 0.6, 0.2, 0.1, 0.4, 0.3, 0.2, 0.1, 0.1, 0.2, 0.3, 0.4});
  RouterRule rule = softmax_rule(1, false);
  rule.device_capacity_factor = 1;
  rule.devices = 2;
  rule.protected_share = 0;
  const Routing routing = route(logits, nullptr, rule);
  EXPECT_EQ(all(routing.experts), (Indices{0, 1, -1, 3}));
  EXPECT_EQ(routing.dropped, 1);
  // Of equal affinities the later token goes first.
  const Tensor equal = logs({3, 2}, {0.6, 0.4, 0.6, 0.4, 0.6, 0.4});
  EXPECT_EQ(all(route(equal, nullptr, rule).experts), (Indices{0, 0, -1}));
}

TEST(RouterKinds, ATenthOfTheSequencesIsNeverDropped) {
  constexpr std::int64_t kSequences = 2000;
  constexpr std::int64_t kLength = 3;
  // Everybody wants device 0 of two, which takes half of them.
  std::vector<double> shares;
  for (std::int64_t t = 0; t < kSequences * kLength; ++t) shares.insert(shares.end(), {0.9, 0.1});
  RouterRule rule = softmax_rule(1, false);
  rule.device_capacity_factor = 1;
  rule.devices = 2;
  RouteContext context;
  context.tokens_a_sequence = kLength;
  const Tensor logits = logs({kSequences * kLength, 2}, shares);
  const Routing routing = route(logits, nullptr, rule, context);
  EXPECT_EQ(routing.dropped, kSequences * kLength / 2);
  // The later tokens are dropped, so whole sequences survive in the last third only where they are exempt.
  const Indices experts = all(routing.experts);
  double exempt = 0;
  for (std::int64_t s = kSequences * 2 / 3; s < kSequences; ++s) {
    const auto first = experts.begin() + s * kLength;
    const auto kept = std::count(first, first + kLength, 0);
    ASSERT_TRUE(kept == 0 || kept == kLength);
    exempt += kept == 0 ? 0 : 1;
  }
  EXPECT_NEAR(exempt, 66.7, 5 * 7.7);  // binomial, 667 draws of 0.1
  context.layer = 4;                   // the same sequences in every layer
  EXPECT_EQ(all(route(logits, nullptr, rule, context).experts), experts);
}

TEST(RouterKinds, JitterIsSmallAndBelongsToThePlace) {
  const Tensor x = random_fp64("x", {50, 7});
  RouteContext context;
  context.seed = 8;
  const Tensor moved = jitter(x, 0.01, context);
  double largest = 0;
  for (std::size_t i = 0; i < 350; ++i)
    largest = std::max(largest, std::abs(moved.values<double>()[i] / x.values<double>()[i] - 1));
  EXPECT_LE(largest, 0.01);
  EXPECT_GT(largest, 0.009);  // of 350 uniform draws, all within 9/10 with probability 1e-16
  context.first_token = 20;
  const Tensor part = jitter(x.slice(0, 20, 30).contiguous(), 0.01, context);
  EXPECT_TRUE(std::ranges::equal(part.values<double>(), moved.slice(0, 20, 30).contiguous().values<double>()));
}

TEST(RouterKinds, TwoDtypesChooseAlike) {
  const Tensor logits = random_tensor("logits", {40, 12});
  const auto values = logits.values<float>();
  const Tensor wide = Tensor::from<double>({40, 12}, std::vector<double>(values.begin(), values.end()));
  RouterRule rule;
  rule.top_k = 4;
  const Routing narrow = route(logits, nullptr, rule);
  const Routing exact = route(wide, nullptr, rule);
  EXPECT_EQ(all(narrow.experts), all(exact.experts));
  for (std::size_t i = 0; i < 160; ++i)  // four roundings of the quotient and its sum, 2^-24 each, of a value below 1
    EXPECT_NEAR(static_cast<double>(narrow.weights.values<float>()[i]), exact.weights.values<double>()[i], 3e-7);
}

TEST(RouterKinds, NoTokens) {
  const Routing routing = route(Tensor::zeros(tensor::DType::kF32, {0, 4}), nullptr, softmax_rule(2, true));
  EXPECT_EQ(routing.experts.shape(), (tensor::Shape{0, 2}));
}

// 2 * 3 * 5 * 7 + 3 * 15 flops; x 21 * 2 bytes, W 35 * 4, logits 15 * 4 written and read, 3 * 2 slots of 12 bytes.
TEST(RouterKinds, Cost) {
  const Cost cost = router_cost(3, 5, 7, 2, 2);
  EXPECT_EQ(cost.flops, 255);
  EXPECT_EQ(cost.bytes_read, 42 + 140 + 60);
  EXPECT_EQ(cost.bytes_written, 60 + 72);
}

}  // namespace
}  // namespace lastbit::ops

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ops/router.h"
#include "random_tensor.h"
#include "routing_gradient.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

struct Kind {
  std::string name;
  RouterRule rule;
  bool biased = false;
};

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  Kind v3{"v3", {}, true};
  v3.rule.group_rank = GroupRank::kTopTwo;
  v3.rule.groups = 3;
  v3.rule.kept_groups = 2;
  v3.rule.top_k = 4;
  v3.rule.scale = 2.5;
  all.push_back(v3);
  v3.name = "v3 as published";
  v3.rule.group_rank = GroupRank::kTopShare;
  all.push_back(v3);
  v3.name = "v3, not normalised, with capacity";
  v3.rule.normalise = false;
  v3.rule.capacity_factor = 0.8;
  all.push_back(v3);
  Kind v2{"v2", v3.rule};
  v2.rule.affinity = Affinity::kSoftmax;
  v2.rule.group_rank = GroupRank::kMax;
  v2.rule.capacity_factor = 0;
  v2.rule.device_capacity_factor = 0.7;
  v2.rule.devices = 3;
  all.push_back(v2);
  Kind moe{"deepseekmoe", {}};
  moe.rule.affinity = Affinity::kSoftmax;
  moe.rule.normalise = false;
  moe.rule.top_k = 3;
  all.push_back(moe);
  moe.name = "shared experts in the softmax";
  moe.rule.shared_logits = 2;
  moe.rule.normalise = true;
  all.push_back(moe);
  Kind gshard{"gshard", {}};
  gshard.rule.affinity = Affinity::kSoftmax;
  gshard.rule.top_k = 2;
  gshard.rule.random_second = true;
  gshard.rule.capacity_factor = 0.7;
  all.push_back(gshard);
  Kind one{"switch", gshard.rule};
  one.rule.top_k = 1;
  one.rule.random_second = false;
  one.rule.normalise = false;
  all.push_back(one);
  Kind top_p{"top-p", {}};
  top_p.rule.selection = Selection::kTopP;
  top_p.rule.affinity = Affinity::kSoftmax;
  top_p.rule.normalise = false;
  top_p.rule.top_p = 0.5;
  top_p.rule.top_k = 5;
  all.push_back(top_p);
  top_p.name = "top-p of normalised sigmoids";
  top_p.rule.affinity = Affinity::kNormalisedSigmoid;
  all.push_back(top_p);
  top_p.name = "top-p of normalised sigmoids, over their sum";
  top_p.rule.normalise = true;
  all.push_back(top_p);
  return all;
}

// sum dweights * weights under the choice of `at`, which small steps do not change.
double weighted(const Tensor& dweights, const Routing& routing, const Routing& at) {
  EXPECT_TRUE(std::ranges::equal(routing.experts.values<std::int64_t>(), at.experts.values<std::int64_t>()));
  double total = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(dweights.size()); ++i)
    total += dweights.values<double>()[i] * routing.weights.values<double>()[i];
  return total;
}

TEST(RouterBackward, AgreesWithCentralDifferences) {
  std::int64_t dropped = 0;
  for (const Kind& kind : kinds())
    for (const std::int64_t tokens : {0, 1, 2, 8}) {
      const std::string label = kind.name + " of " + std::to_string(tokens);
      const Tensor logits = random_fp64(label, {tokens, 9 + kind.rule.shared_logits}, 2);
      const Tensor bias = random_fp64("bias", {9}, 0.3);
      const Tensor dweights = random_fp64("gradient of " + label, {tokens, kind.rule.top_k});
      const RouteContext context{nullptr, 5, 1, 2, 0, 2};
      const auto routed = [&](const Tensor& x) {
        RouteContext here = context;
        here.tokens_a_sequence = std::max<std::int64_t>(1, tokens / 2);
        return route(x, kind.biased ? &bias : nullptr, kind.rule, here);
      };
      const Routing routing = routed(logits);
      dropped += routing.dropped + routing.skipped;
      expect_gradient(
          logits, route_backward(dweights, logits, routing, kind.rule),
          [&](const Tensor& x) { return weighted(dweights, routed(x), routing); }, label);
    }
  EXPECT_GE(dropped, 10);  // the cases with capacities did drop
}

// With all affinities near kAffinityOffset the offset shares in the quotient: g = s / (s + 1e-20) has slope
// s 1e-20 / (s + 1e-20)^2 by the logit, where s = exp(-46) = 1.05e-20.
TEST(RouterBackward, TheOffsetOfTheQuotientIsDifferentiated) {
  const std::vector<double> values = {-46, -60};
  const Tensor logits = Tensor::from<double>({1, 2}, values);
  const Tensor one = Tensor::from<double>({1, 1}, std::vector<double>{1});
  const double s = std::exp(-46.0);
  const RouterRule rule;
  const Routing routing = route(logits, nullptr, rule);
  EXPECT_NEAR(routing.weights.values<double>()[0], s / (s + 1e-20), 1e-14);
  const Tensor gradient = route_backward(one, logits, routing, rule);
  EXPECT_NEAR(gradient.values<double>()[0], s * 1e-20 / (s + 1e-20) / (s + 1e-20), 1e-14);
  EXPECT_EQ(gradient.values<double>()[1], 0);
}

TEST(RouterBackward, HashHasNoGradient) {
  RouterRule rule;
  rule.selection = Selection::kHash;
  const Tensor ids = Tensor::from<std::int64_t>({2}, std::vector<std::int64_t>{3, 4});
  RouteContext context;
  context.token_ids = &ids;
  const Tensor logits = random_tensor("logits", {2, 5});
  const Tensor gradient =
      route_backward(random_tensor("dweights", {2, 1}), logits, route(logits, nullptr, rule, context), rule);
  for (const float value : gradient.values<float>()) EXPECT_EQ(value, 0);
}

TEST(RouterBackward, UnusedSlotsAreIgnored) {
  RouterRule rule;
  rule.selection = Selection::kTopP;
  rule.affinity = Affinity::kSoftmax;
  rule.top_p = 0.5;
  rule.top_k = 3;
  const Tensor logits = Tensor::from<double>({1, 3}, std::vector<double>{0, 2, 0});
  const Routing routing = route(logits, nullptr, rule);
  ASSERT_EQ(routing.experts.values<std::int64_t>()[1], -1);
  const Tensor a = route_backward(Tensor::from<double>({1, 3}, std::vector<double>{1, 5, 7}), logits, routing, rule);
  const Tensor b = route_backward(Tensor::from<double>({1, 3}, std::vector<double>{1, 0, 0}), logits, routing, rule);
  EXPECT_TRUE(std::ranges::equal(a.values<double>(), b.values<double>()));
}

TEST(RouterBackward, Fp32AgreesWithFp64) {
  for (const Kind& kind : kinds()) {
    const std::int64_t columns = 9 + kind.rule.shared_logits;
    const Tensor logits = random_tensor("logits of " + kind.name, {6, columns});
    const Tensor dweights = random_tensor("dweights", {6, kind.rule.top_k});
    const auto wide = [](const Tensor& x) {
      const auto values = x.values<float>();
      return Tensor::from<double>(x.shape(), std::vector<double>(values.begin(), values.end()));
    };
    RouteContext context;
    context.tokens_a_sequence = 3;
    const Routing routing = route(logits, nullptr, kind.rule, context);
    const Routing exact = route(wide(logits), nullptr, kind.rule, context);
    ASSERT_TRUE(std::ranges::equal(routing.experts.values<std::int64_t>(), exact.experts.values<std::int64_t>()));
    const Tensor gradient = route_backward(dweights, logits, routing, kind.rule);
    const Tensor reference = route_backward(wide(dweights), wide(logits), exact, kind.rule);
    ASSERT_EQ(gradient.dtype(), tensor::DType::kF32);
    for (std::size_t i = 0; i < static_cast<std::size_t>(gradient.size()); ++i)  // a dozen roundings of 2^-24
      EXPECT_NEAR(static_cast<double>(gradient.values<float>()[i]), reference.values<double>()[i], 1e-6) << kind.name;
  }
}

}  // namespace
}  // namespace lastbit::ops

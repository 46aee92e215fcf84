#include "ops/moe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

constexpr std::int64_t kTokens = 30;
constexpr std::int64_t kDim = 9;
constexpr std::int64_t kExperts = 6;

std::vector<SwigluWeights> experts() {
  std::vector<SwigluWeights> all;
  for (std::int64_t e = 0; e < kExperts; ++e) {
    const std::string name = std::to_string(e);
    all.push_back({random_tensor("gate" + name, {7, kDim}), random_tensor("up" + name, {7, kDim}),
                   random_tensor("down" + name, {kDim, 7})});
  }
  return all;
}

Routing routing_of(const Tensor& logits) {
  RouterRule rule;
  rule.top_k = 3;
  return route(logits, nullptr, rule);
}

// Gathering by expert gives the bits of running every token's experts one after the other, lowest expert first.
TEST(Moe, GatheringChangesNoBit) {
  const Tensor x = random_tensor("x", {kTokens, kDim});
  const Routing routing = routing_of(random_tensor("logits", {kTokens, kExperts}));
  const std::vector<SwigluWeights> weights = experts();
  const Tensor all = routed_experts(x, routing, weights, {});
  for (std::int64_t t = 0; t < kTokens; ++t) {
    std::vector<float> expected(kDim, 0.0F);
    for (std::int64_t place = 0; place < 3; ++place) {
      const auto expert =
          static_cast<std::size_t>(routing.experts.values<std::int64_t>()[static_cast<std::size_t>(t * 3 + place)]);
      const Tensor y = swiglu_ffn(x.slice(0, t, t + 1).contiguous(), weights[expert], {});
      for (std::size_t i = 0; i < expected.size(); ++i)
        expected[i] += at(routing.weights, t * 3 + place) * y.values<float>()[i];
    }
    const Tensor ours = all.slice(0, t, t + 1).contiguous();
    EXPECT_TRUE(std::ranges::equal(ours.values<float>(), expected)) << t;
  }
}

TEST(Moe, TokensDoNotSeeEachOther) {
  const Tensor x = random_tensor("x", {kTokens, kDim});
  const Tensor logits = random_tensor("logits", {kTokens, kExperts});
  const Tensor all = routed_experts(x, routing_of(logits), experts(), {});
  const Tensor some =
      routed_experts(x.slice(0, 4, 11).contiguous(), routing_of(logits.slice(0, 4, 11).contiguous()), experts(), {});
  EXPECT_TRUE(std::ranges::equal(some.values<float>(), all.slice(0, 4, 11).contiguous().values<float>()));
}

}  // namespace
}  // namespace lastbit::ops

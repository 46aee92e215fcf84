#include "sim/workload/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

#include "core/philox.h"

namespace lastbit::sim::workload {
namespace {

constexpr RoutingShape kV3{256, 8, 4, 8, 64, 8};

TEST(Routing, WithoutLimitsThePlacesAreThoseOfDrawsWithoutReplacement) {
  // One expert of N on N places: exactly one place; as many draws as experts: every place.
  EXPECT_NEAR(expected_places({16, 1, 1, 1, 16, 8}, 16), 1, 1e-12);
  EXPECT_NEAR(expected_places({16, 1, 1, 16, 16, 8}, 4), 4, 1e-12);
  // Two draws of 4 experts on 2 places of 2: the second lies elsewhere with probability 2/3.
  EXPECT_NEAR(expected_places({4, 1, 1, 2, 2, 1}, 2), 1 + 2.0 / 3, 1e-12);
}

TEST(Routing, NodeLimitBoundsTheNodes) {
  const double nodes = expected_places(kV3, 8);
  EXPECT_LT(nodes, 4);
  // 4 nodes of 32 experts, 8 drawn of 128: 4 (1 - C(96,8)/C(128,8)).
  double miss = 1;
  for (int i = 0; i < 8; ++i) miss *= (96.0 - i) / (128.0 - i);
  EXPECT_NEAR(nodes, 4 * (1 - miss), 1e-12);
  // Two groups a node when only 4 nodes share the experts; all of it on one node.
  EXPECT_LT(expected_places(kV3, 4), 4);
  EXPECT_GT(expected_places(kV3, 4), expected_places(kV3, 2));
  EXPECT_NEAR(expected_places(kV3, 1), 1, 1e-12);
}

// Direct simulation of the choice: groups first, then experts inside them.
TEST(Routing, AgreesWithSimulatedChoices) {
  const core::RandomStream stream(1, "routing-test");
  std::uint64_t drawn = 0;
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(stream.word(drawn++)) % n; };
  double nodes = 0;
  double ranks = 0;
  constexpr int kTokens = 20000;
  for (int t = 0; t < kTokens; ++t) {
    std::vector<std::size_t> groups(8);
    std::iota(groups.begin(), groups.end(), std::size_t{0});
    for (std::size_t i = 0; i < 4; ++i) std::swap(groups[i], groups[i + below(8 - i)]);
    std::vector<std::size_t> pool;
    for (std::size_t i = 0; i < 4; ++i) {
      for (std::size_t e = 0; e < 32; ++e) pool.push_back(groups[i] * 32 + e);
    }
    std::set<std::size_t> node_set;
    std::set<std::size_t> rank_set;
    for (std::size_t i = 0; i < 8; ++i) {
      std::swap(pool[i], pool[i + below(pool.size() - i)]);
      node_set.insert(pool[i] / 32);
      rank_set.insert(pool[i] / 4);
    }
    nodes += static_cast<double>(node_set.size());
    ranks += static_cast<double>(rank_set.size());
  }
  EXPECT_NEAR(nodes / kTokens, expected_places(kV3, 8), 0.02);
  EXPECT_NEAR(ranks / kTokens, expected_places(kV3, 64), 0.03);
}

}  // namespace
}  // namespace lastbit::sim::workload

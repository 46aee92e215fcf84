#include "sim/workload/traffic.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "core/error.h"
#include "sim/report/routing.h"
#include "sim/workload/expert_load.h"
#include "sim/workload/routing.h"

namespace lastbit::sim::workload {
namespace {

std::int64_t sum(const std::vector<std::int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

// 4 GPUs on 2 nodes, one expert a GPU; one token on each GPU.
TEST(Traffic, OfAHandfulOfTokensByHand) {
  const Placement placement = contiguous_placement(4, 4, 2);
  const RoutedTokens tokens{4, 2, {0, 1, 2, 3, 2, 0, 3, -1}};
  const Traffic traffic = token_traffic(tokens, placement);
  EXPECT_EQ(traffic.to_gpu, (std::vector<std::int64_t>{1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1}));
  EXPECT_EQ(traffic.to_node, (std::vector<std::int64_t>{1, 0, 0, 1, 1, 1, 0, 1}));
  // GPU 1's token reaches GPU 3, which keeps it and forwards it to GPU 2.
  std::vector<std::int64_t> forwarded(16, 0);
  forwarded[3 * 4 + 2] = 1;
  EXPECT_EQ(traffic.forwarded, forwarded);
  EXPECT_EQ(traffic.slot_rows, (std::vector<std::int64_t>{2, 1, 2, 2}));
  const GpuTraffic direct = direct_traffic(traffic);
  EXPECT_EQ(direct.network_sent, (std::vector<std::int64_t>{0, 2, 1, 0}));
  EXPECT_EQ(direct.network_received, (std::vector<std::int64_t>{1, 0, 1, 1}));
  EXPECT_EQ(direct.nvlink_sent, (std::vector<std::int64_t>{1, 0, 0, 0}));
  EXPECT_EQ(direct.nvlink_received, (std::vector<std::int64_t>{0, 1, 0, 0}));
  const GpuTraffic limited = forwarded_traffic(traffic);
  EXPECT_EQ(limited.network_sent, (std::vector<std::int64_t>{0, 1, 1, 0}));
  EXPECT_EQ(limited.network_received, (std::vector<std::int64_t>{1, 0, 0, 1}));
  EXPECT_EQ(limited.nvlink_sent, (std::vector<std::int64_t>{1, 0, 0, 1}));
  EXPECT_EQ(limited.nvlink_received, (std::vector<std::int64_t>{0, 1, 1, 0}));
  EXPECT_EQ(node_traffic(traffic), (std::vector<std::int64_t>{1, 1, 1, 2}));
  EXPECT_EQ(plane_traffic(traffic, limited), (std::vector<std::int64_t>{1, 1}));
}

// The expected copies over the network a token: uniform routing, DeepSeek-V3's shape, with and without its node limit.
TEST(Traffic, UniformRoutingMeetsTheClosedForms) {
  constexpr std::int64_t kTokens = 64 * 1500;
  for (const int kept : {4, 8}) {
    const ChoiceRule rule{8, 8, kept};
    const RoutedTokens tokens = draw_tokens(uniform_loads(256), rule, kTokens, 17);
    const report::Reach found = report::reach_of(token_traffic(tokens, contiguous_placement(256, 64, 8)), kTokens);
    const report::Reach exact = report::uniform_reach(rule, 256, 64, 8).value();
    const double margin = 5 * 1.5 / std::sqrt(static_cast<double>(kTokens));  // 5 deviations; none exceeds 1.5
    EXPECT_NEAR(found.gpus, exact.gpus, margin);
    EXPECT_NEAR(found.nodes, exact.nodes, margin);
    EXPECT_NEAR(found.other_nodes, exact.other_nodes, margin);
    EXPECT_NEAR(found.network_gpus, exact.network_gpus, margin);
  }
  // By hand: without a limit 8 (1 - C(224,8)/C(256,8)) nodes, of which 7 in 8 are others.
  double miss = 1;
  for (int i = 0; i < 8; ++i) miss *= (224.0 - i) / (256.0 - i);
  EXPECT_NEAR(report::uniform_reach({8, 8, 8}, 256, 64, 8)->other_nodes, 7 * (1 - miss), 1e-12);
  EXPECT_FALSE(report::uniform_reach({8, 8, 4}, 256, 64, 3).has_value());
}

// Every token of a small model once: the mean over all choices is the closed form itself.
TEST(Traffic, AllChoicesOfASmallModelGiveTheClosedFormExactly) {
  RoutedTokens tokens{8, 3, {}};
  for (std::int32_t a = 0; a < 8; ++a)
    for (std::int32_t b = a + 1; b < 8; ++b)
      for (std::int32_t c = b + 1; c < 8; ++c) tokens.choices.insert(tokens.choices.end(), {a, b, c});
  const Traffic traffic = token_traffic(tokens, contiguous_placement(8, 4, 2));
  const report::Reach exact = report::uniform_reach({3, 1, 1}, 8, 4, 2).value();
  EXPECT_NEAR(report::reach_of(traffic, tokens.tokens()).gpus, exact.gpus, 1e-12);
  EXPECT_NEAR(report::reach_of(traffic, tokens.tokens()).nodes, exact.nodes, 1e-12);
}

RC_GTEST_PROP(Traffic, RowsAndCopiesAreConserved, ()) {
  const int nodes = *rc::gen::inRange(1, 4);
  const int gpus = nodes * *rc::gen::inRange(1, 4);
  const int experts = gpus * *rc::gen::inRange(1, 4);
  const ChoiceRule rule{*rc::gen::inRange(1, std::min(experts, 5) + 1), 1, 1};
  const std::int64_t count = *rc::gen::inRange(1, 60);
  const RoutedTokens tokens =
      draw_tokens(zipf_loads(experts, 0.7, 1), rule, count, *rc::gen::inRange<std::uint64_t>(0, 99));
  const Traffic traffic = token_traffic(tokens, contiguous_placement(experts, gpus, nodes));
  RC_ASSERT(sum(traffic.slot_rows) == count * rule.top_k);
  RC_ASSERT(sum(traffic.to_gpu) <= count * rule.top_k);
  RC_ASSERT(sum(traffic.to_node) <= sum(traffic.to_gpu));
  const GpuTraffic direct = direct_traffic(traffic);
  const GpuTraffic limited = forwarded_traffic(traffic);
  RC_ASSERT(sum(direct.network_sent) == sum(direct.network_received));
  RC_ASSERT(sum(limited.network_sent) == sum(limited.network_received));
  RC_ASSERT(sum(limited.network_sent) <= sum(direct.network_sent));
  // A copy for a GPU of another node arrives with the network's own or is forwarded.
  std::int64_t kept = 0;
  for (std::int64_t from = 0; from < gpus; ++from)
    for (std::int64_t to = 0; to < gpus; ++to)
      if (from / (gpus / nodes) != to / (gpus / nodes) && from % (gpus / nodes) == to % (gpus / nodes))
        kept += traffic.to_gpu[static_cast<std::size_t>(from * gpus + to)];
  RC_ASSERT(sum(direct.network_sent) == kept + sum(traffic.forwarded));
}

TEST(Traffic, ReplicasTakeTurns) {
  Placement placement;
  placement.nodes = 1;
  placement.gpus = 3;
  placement.slot_expert = {0, 0, 1};
  placement.expert_slots = {{0, 1}, {2}};
  const Traffic traffic = token_traffic({2, 1, {0, 0, 0, 0, 0, 1}}, placement);
  EXPECT_EQ(traffic.slot_rows, (std::vector<std::int64_t>{3, 2, 1}));
  EXPECT_THROW(static_cast<void>(token_traffic({3, 1, {0}}, placement)), core::Error);
}

TEST(Placement, RefusesCountsThatDoNotDivide) {
  EXPECT_THROW(static_cast<void>(contiguous_placement(6, 4, 2)), core::Error);
  EXPECT_THROW(static_cast<void>(contiguous_placement(8, 4, 3)), core::Error);
  EXPECT_THROW(static_cast<void>(contiguous_placement(0, 1, 1)), core::Error);
}

}  // namespace
}  // namespace lastbit::sim::workload

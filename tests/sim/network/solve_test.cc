#include "sim/network/solve.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "core/parallel.h"
#include "sim/network/progressive_filling.h"
#include "sim/network/scenario.h"
#include "support/shared.h"

namespace lastbit::sim::network {
namespace {

TEST(Solve, AgreesWithSimGridWithAndWithoutFolding) {
  LASTBIT_NEEDS_SHARED();
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(testing::shared_path("groundtruth/maxmin"))) {
    const Scenario scenario = load_scenario(entry.path().string());
    ASSERT_FALSE(scenario.expected_s.empty());
    for (const bool fold : {true, false}) {
      const Answer answer = solve(scenario.links, scenario.flows, {.sharing = scenario.sharing, .fold = fold});
      EXPECT_LE(worst_relative_difference(answer.completion_s, scenario.expected_s), 1e-6)
          << entry.path() << (fold ? " folded" : " unfolded");
    }
    ++files;
  }
  EXPECT_GE(files, 11U);
}

struct Sample {
  LinkList links;
  FlowList flows;
};

// Few distinct sizes, starts and capacities, so that ties and identical flows are common; some of any value.
Sample draw_sample(bool latencies) {
  Sample sample;
  const auto num_links = *rc::gen::inRange(1, 9);
  for (int i = 0; i < num_links; ++i)
    sample.links.add(*rc::gen::element(1e9, 2e9, 5e9, 7.3e9), latencies ? *rc::gen::element(1e-6, 2e-6, 5e-6) : 0.0);
  const auto num_flows = *rc::gen::inRange(1, 40);
  for (int i = 0; i < num_flows; ++i) {
    const auto length = static_cast<std::size_t>(*rc::gen::inRange(1, 5));
    std::vector<std::uint32_t> route;
    for (std::size_t hop = 0; hop < length; ++hop)
      route.push_back(static_cast<std::uint32_t>(*rc::gen::inRange(0, num_links)));
    const double start_s = *rc::gen::element(0, 0, 1, 1000, *rc::gen::inRange(0, 4000)) * 1e-6;
    const double bytes = *rc::gen::element(1000000, 1000000, 2000000, 0, *rc::gen::inRange(1, 10000000));
    sample.flows.add(start_s, bytes, route);
  }
  return sample;
}

RC_GTEST_PROP(Solve, AgreesWithThePlainTwin, ()) {
  const Sharing sharing = *rc::gen::element(Sharing::kMaxMin, Sharing::kInverseLatency);
  const Sample sample = draw_sample(sharing == Sharing::kInverseLatency || *rc::gen::element(true, false));
  const std::vector<double> plain = progressive_filling(sample.links, sample.flows, sharing);
  for (const bool fold : {true, false}) {
    const Answer answer = solve(sample.links, sample.flows, {.sharing = sharing, .fold = fold});
    RC_ASSERT(worst_relative_difference(answer.completion_s, plain) <= 1e-9);
  }
}

// Long enough to make the residuals anew on the way, which the samples above are not.
TEST(Solve, AgreesWithThePlainTwinOverManyEvents) {
  for (const Sharing sharing : {Sharing::kMaxMin, Sharing::kInverseLatency}) {
    Sample sample;
    std::uint32_t state = 1;
    const auto next = [&state](std::uint32_t below) {
      state = state * 1664525U + 1013904223U;
      return (state >> 8U) % below;
    };
    for (int i = 0; i < 12; ++i) sample.links.add(1e9 * (1 + next(5)), 1e-6 * (1 + next(5)));
    for (int i = 0; i < 500; ++i)
      sample.flows.add(1e-5 * next(100), 1.0 + next(10000000), std::array{next(12), next(12), next(12)});
    const std::vector<double> plain = progressive_filling(sample.links, sample.flows, sharing);
    const Answer answer = solve(sample.links, sample.flows, {.sharing = sharing});
    EXPECT_LE(worst_relative_difference(answer.completion_s, plain), 1e-12);
  }
}

// A ring of groups that all look alike: every GPU sends to every other of its group.
Sample alike(std::uint32_t groups, std::uint32_t size) {
  Sample sample;
  for (std::uint32_t gpu = 0; gpu < groups * size; ++gpu) {
    sample.links.add(50e9, 0);
    sample.links.add(50e9, 0);
  }
  for (std::uint32_t from = 0; from < groups * size; ++from)
    for (std::uint32_t other = 0; other < size; ++other) {
      const std::uint32_t to = from / size * size + other;
      if (to != from) sample.flows.add(0, 1e6, std::array{2 * from, 2 * to + 1});
    }
  return sample;
}

TEST(Solve, FoldsWhatLooksAlike) {
  const Sample sample = alike(6, 8);
  const Answer folded = solve(sample.links, sample.flows, {});
  const Answer plain = solve(sample.links, sample.flows, {.fold = false});
  EXPECT_EQ(folded.flow_classes, 1U);
  EXPECT_EQ(plain.flow_classes, sample.flows.size());
  EXPECT_EQ(plain.components, 6U);
  EXPECT_LE(worst_relative_difference(folded.completion_s, plain.completion_s), 1e-14);
  EXPECT_EQ(folded.link_bytes, plain.link_bytes);
}

TEST(Solve, ASizeThatDiffersBreaksTheFold) {
  Sample sample = alike(6, 8);
  sample.flows.add(0, 5e5, std::array{0U, 3U});
  const Answer folded = solve(sample.links, sample.flows, {});
  const Answer plain = solve(sample.links, sample.flows, {.fold = false});
  EXPECT_GT(folded.flow_classes, 1U);
  EXPECT_LE(worst_relative_difference(folded.completion_s, plain.completion_s), 1e-14);
}

TEST(Solve, AccountsForEveryByteOverTime) {
  Sample sample = alike(2, 4);
  sample.flows.add(1e-5, 3e6, std::array{0U, 3U});
  for (const bool fold : {true, false}) {
    const Answer answer = solve(sample.links, sample.flows, {.fold = fold, .bins = 7});
    for (std::size_t link = 0; link < sample.links.size(); ++link) {
      double sum = 0;
      for (std::size_t bin = 0; bin < 7; ++bin) sum += answer.bin_bytes[link * 7 + bin];
      EXPECT_NEAR(sum, answer.link_bytes[link], 1e-3) << link;
      for (const double share : answer.utilisation_over_time(sample.links, link, 7)) EXPECT_LE(share, 1 + 1e-12);
    }
  }
}

TEST(Solve, SameBitsForAnyNumberOfThreads) {
  Sample sample = alike(40, 6);
  for (std::uint32_t i = 0; i < 40; ++i) sample.flows.add(i * 1e-6, 1e5 * (i + 1), std::array{12 * i, 12 * i + 3});
  const Answer expected = solve(sample.links, sample.flows, {.fold = false});
  for (const int threads : {1, 3}) {
    core::set_num_threads(threads);
    EXPECT_EQ(solve(sample.links, sample.flows, {.fold = false}).completion_s, expected.completion_s);
  }
  core::set_num_threads(0);
}

TEST(Solve, RefusesARouteWithoutLatencyAmongOthersThatHaveOne) {
  Sample sample;
  sample.links.add(1, 1e-6);
  sample.links.add(1, 0);
  sample.flows.add(0, 1, std::array{0U});
  sample.flows.add(0, 1, std::array{1U});
  EXPECT_THROW((void)solve(sample.links, sample.flows, {.sharing = Sharing::kInverseLatency}), core::Error);
}

TEST(Solve, NothingTakesNoTime) {
  const Answer answer = solve({}, {}, {.bins = 3});
  EXPECT_EQ(answer.makespan_s, 0);
  EXPECT_TRUE(answer.completion_s.empty());
}

}  // namespace
}  // namespace lastbit::sim::network

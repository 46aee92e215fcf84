#include "sim/workload/token_routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/error.h"
#include "sim/workload/expert_load.h"

namespace lastbit::sim::workload {
namespace {

std::vector<double> shares(const RoutedTokens& tokens) {
  std::vector<double> counts(static_cast<std::size_t>(tokens.experts), 0);
  for (const std::int32_t expert : tokens.choices) counts[static_cast<std::size_t>(expert)] += 1;
  return normalized_loads(std::move(counts), "counts");
}

std::string refusal_of(const std::vector<double>& loads, const ChoiceRule& rule, std::int64_t tokens = 4) {
  try {
    static_cast<void>(draw_tokens(loads, rule, tokens, 1));
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  return "accepted";
}

TEST(DrawTokens, ChoicesAreDistinctWithinTheKeptGroups) {
  const RoutedTokens tokens = draw_tokens(zipf_loads(64, 1.1, 5), {6, 8, 3}, 500, 7);
  ASSERT_EQ(tokens.tokens(), 500);
  for (std::size_t t = 0; t < 500; ++t) {
    const std::set<std::int32_t> chosen(tokens.choices.begin() + static_cast<std::ptrdiff_t>(6 * t),
                                        tokens.choices.begin() + static_cast<std::ptrdiff_t>(6 * t + 6));
    EXPECT_EQ(chosen.size(), 6u);
    std::set<std::int32_t> groups;
    for (const std::int32_t e : chosen) groups.insert(e / 8);
    EXPECT_LE(groups.size(), 3u);
  }
}

TEST(DrawTokens, OneChoiceFollowsTheLoads) {
  const std::vector<double> loads = zipf_loads(30, 1, 2);
  const std::vector<double> found = shares(draw_tokens(loads, {1, 1, 1}, 200000, 3));
  for (std::size_t e = 0; e < loads.size(); ++e) EXPECT_NEAR(found[e], loads[e], 5 * std::sqrt(loads[e] / 200000)) << e;
}

// Two of three without replacement, weights 1/2, 1/4, 1/4: the first is missed with 2 x 1/4 x 1/3.
TEST(DrawTokens, SeveralChoicesAreDrawnOneAfterAnother) {
  const RoutedTokens tokens = draw_tokens({0.5, 0.25, 0.25}, {2, 1, 1}, 100000, 11);
  EXPECT_NEAR(2 * shares(tokens)[0], 1 - 2 * 0.25 / 3, 0.005);
}

TEST(DrawTokens, TheSameSeedGivesTheSameTokensHoweverMany) {
  const std::vector<double> loads = uniform_loads(256);
  const RoutedTokens many = draw_tokens(loads, {8, 8, 4}, 300, 9);
  const RoutedTokens few = draw_tokens(loads, {8, 8, 4}, 100, 9);
  EXPECT_TRUE(std::equal(few.choices.begin(), few.choices.end(), many.choices.begin()));
  EXPECT_NE(draw_tokens(loads, {8, 8, 4}, 100, 10).choices, few.choices);
}

TEST(DrawTokens, RefusesRulesThatCannotBeKept) {
  const std::vector<double> loads = uniform_loads(12);
  EXPECT_NE(refusal_of(loads, {2, 5, 1}).find("12 experts do not divide into 5 groups"), std::string::npos);
  EXPECT_NE(refusal_of(loads, {5, 3, 1}).find("top_k: found 5, expected 1 to 4"), std::string::npos);
  EXPECT_NE(refusal_of(loads, {1, 3, 4}).find("kept groups: found 4"), std::string::npos);
  EXPECT_NE(refusal_of(loads, {1, 1, 1}, 0).find("found 0 tokens"), std::string::npos);
  EXPECT_EQ(refusal_of({0, 0, 1, 1}, {1, 2, 1}), "accepted");
  EXPECT_NE(refusal_of({0, 0, 0, 1}, {2, 1, 1}).find("only 1 experts with a load"), std::string::npos);
  EXPECT_NE(refusal_of({0, 0, 0, 0, 1, 1}, {2, 3, 2}).find("1 groups have a load"), std::string::npos);
}

io::RoutingTrace small_trace() {
  io::RoutingTrace trace;
  trace.source = "test";
  trace.experts = 4;
  trace.top_k = 2;
  trace.layers = {1, 2};
  const std::vector<std::uint16_t> first{0, 1, 2, 3, 1, 2, 0, 3};  // two tokens, two layers
  const std::vector<std::uint16_t> second{3, 2, 1, io::kNoExpert};
  io::append_step(trace, 0, first, true);
  io::append_step(trace, 10, second, true);
  return trace;
}

TEST(TraceTokens, AreThoseOfTheLayer) {
  const io::RoutingTrace trace = small_trace();
  EXPECT_EQ(trace_tokens(trace, 0).choices, (std::vector<std::int32_t>{0, 1, 1, 2, 3, 2}));
  EXPECT_EQ(trace_tokens(trace, 1).choices, (std::vector<std::int32_t>{2, 3, 0, 3, 1, -1}));
  EXPECT_EQ(trace_tokens(trace, 1, 1).choices, (std::vector<std::int32_t>{1, -1}));
  EXPECT_EQ(trace_loads(trace, "t")[0], (std::vector<double>{1 / 6.0, 2 / 6.0, 2 / 6.0, 1 / 6.0}));
}

TEST(SegmentExperts, CutsEachExpertIntoFinerOnesOfItsGroup) {
  const RoutedTokens coarse = trace_tokens(small_trace(), 1);
  for (const int groups : {1, 2}) {
    const RoutedTokens fine = segment_experts(coarse, groups, 16, 4, 1);
    EXPECT_EQ(fine.tokens(), coarse.tokens());
    const int members = 4 / groups;
    for (std::size_t i = 0; i < fine.choices.size(); ++i) {
      const std::int32_t from = coarse.choices[i / 2];
      const std::int32_t to = fine.choices[i];
      EXPECT_EQ(to < 0, from < 0);
      if (from < 0) continue;
      EXPECT_EQ(to / (4 * members), from / members);
      EXPECT_EQ(to % members, from % members);
    }
    for (std::size_t i = 0; i + 1 < fine.choices.size(); i += 2)
      EXPECT_TRUE(fine.choices[i] < 0 || fine.choices[i] != fine.choices[i + 1]);
  }
  EXPECT_EQ(segment_experts(coarse, 2, 4, 2, 1).choices, coarse.choices);
  EXPECT_THROW(static_cast<void>(segment_experts(coarse, 1, 6, 2, 1)), core::Error);
  EXPECT_THROW(static_cast<void>(segment_experts(coarse, 1, 8, 6, 1)), core::Error);
}

TEST(ExpertLoad, ResamplingKeepsTheSumAndTheImbalance) {
  const std::vector<double> loads{0.1, 0.2, 0.3, 0.4};
  const std::vector<double> finer = resample_loads(loads, 8, 2);
  EXPECT_EQ(finer, (std::vector<double>{0.05, 0.1, 0.05, 0.1, 0.15, 0.2, 0.15, 0.2}));
  EXPECT_NEAR(load_factor(finer), load_factor(loads), 1e-12);
  const std::vector<double> other = resample_loads(loads, 3);
  EXPECT_NEAR(other[0], 0.1 + 0.2 / 3, 1e-15);
  EXPECT_NEAR(std::accumulate(other.begin(), other.end(), 0.0), 1, 1e-15);
  for (const int groups : {0, -4, 3, 8}) {
    EXPECT_THROW(static_cast<void>(resample_loads(loads, 8, groups)), core::Error) << groups;
  }
}

TEST(ExpertLoad, ZipfIsASteepnessAndAnOrder) {
  EXPECT_NEAR(load_factor(zipf_loads(8, 0, 1)), 1, 1e-12);
  std::vector<double> loads = zipf_loads(4, 1, 9);
  std::sort(loads.begin(), loads.end());
  EXPECT_NEAR(loads[3] / loads[0], 4, 1e-12);
  EXPECT_EQ(zipf_loads(64, 1, 9), zipf_loads(64, 1, 9));
  EXPECT_NE(zipf_loads(64, 1, 9), zipf_loads(64, 1, 10));
  EXPECT_THROW(static_cast<void>(zipf_loads(4, -1, 1)), core::Error);
  EXPECT_THROW(static_cast<void>(normalized_loads({0, 0}, "x")), core::Error);
}

}  // namespace
}  // namespace lastbit::sim::workload

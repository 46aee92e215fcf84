#include "sim/network/max_min.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>

namespace lastbit::sim::network {
namespace {

TEST(MaxMin, SharesEquallyAndGivesWhatIsLeftToTheRest) {
  // Bertsekas and Gallager's picture: a long flow beside short ones; the link of 1 B/s is full first.
  MaxMin sharing({1, 2});
  const std::array<std::uint32_t, 2> both{0, 1};
  sharing.begin({.bytes = 1}, both, 0);
  sharing.begin({.bytes = 1}, std::array{0U}, 0);
  sharing.begin({.bytes = 3}, std::array{1U}, 0);
  // Rates 0.5, 0.5 and 1.5: all end at 2.
  EXPECT_EQ(sharing.next_completion_s(), 2);
  std::vector<std::uint32_t> done;
  sharing.complete(done);
  std::sort(done.begin(), done.end());
  EXPECT_EQ(done, (std::vector<std::uint32_t>{0, 1, 2}));
  EXPECT_EQ(sharing.next_completion_s(), std::numeric_limits<double>::infinity());
}

TEST(MaxMin, FollowsFlowsThatComeAndGo) {
  MaxMin sharing({10});
  std::vector<std::uint32_t> done;
  sharing.begin({.bytes = 100}, std::array{0U}, 0);
  EXPECT_EQ(sharing.next_completion_s(), 10);
  sharing.begin({.bytes = 20}, std::array{0U}, 2);  // 80 left of the first; 5 B/s each
  EXPECT_EQ(sharing.next_completion_s(), 6);
  sharing.complete(done);
  EXPECT_EQ(done, std::vector<std::uint32_t>{1});
  EXPECT_EQ(sharing.next_completion_s(), 12);  // 60 left at 10 B/s
}

TEST(MaxMin, WeighsAndCounts) {
  MaxMin sharing({12});
  sharing.begin({.bytes = 6, .weight = 1}, std::array{0U}, 0);
  sharing.begin({.bytes = 6, .weight = 3}, std::array{0U}, 0);
  sharing.begin({.bytes = 6, .weight = 1, .count = 2}, std::array{0U}, 0);
  EXPECT_EQ(sharing.next_completion_s(), 1);  // 2, 6, and 2 for each of two
}

TEST(MaxMin, TakesAFlowTwiceFromALinkItCrossesTwice) {
  MaxMin sharing({10});
  sharing.begin({.bytes = 10}, std::array{0U, 0U}, 0);
  EXPECT_EQ(sharing.next_completion_s(), 2);
}

TEST(MaxMin, RecordsSpansOfOneRate) {
  struct Span {
    std::uint32_t flow;
    double rate, from_s, to_s;
    bool operator==(const Span&) const = default;
  };
  std::vector<Span> spans;
  MaxMin sharing({10}, [&](std::uint32_t flow, double rate, double from_s, double to_s) {
    spans.push_back({flow, rate, from_s, to_s});
  });
  std::vector<std::uint32_t> done;
  sharing.begin({.bytes = 100}, std::array{0U}, 0);
  (void)sharing.next_completion_s();
  sharing.begin({.bytes = 20}, std::array{0U}, 2);
  sharing.complete(done);
  sharing.complete(done);
  EXPECT_EQ(spans, (std::vector<Span>{{0, 10, 0, 2}, {1, 5, 2, 6}, {0, 5, 2, 6}, {0, 10, 6, 12}}));
}

}  // namespace
}  // namespace lastbit::sim::network

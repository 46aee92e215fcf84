#include "sim/memory/timeline.h"

#include <gtest/gtest.h>

#include "sim/schedule/build.h"

namespace lastbit::sim::memory {
namespace {

TEST(RankTimeline, OneForwardOneBackwardKeepsWhatItsWarmUpStarts) {
  schedule::BuildParams params;
  params.ranks = 4;
  params.micro_batches = 8;
  const schedule::Schedule lists = schedule::build("1f1b", params);
  const schedule::Execution run = schedule::execute(lists, schedule::uniform_costs({{1}, {2}, {1}}, {3}));
  for (int rank = 0; rank < 4; ++rank) {
    const std::vector<double> bytes{100, 10, 5, 1};
    const RankTimeline timeline = rank_timeline(lists, run, rank, bytes);
    const auto stage = static_cast<std::size_t>(rank);
    EXPECT_EQ(timeline.in_flight_at_peak[stage], 4 - rank);
    EXPECT_EQ(timeline.peak_bytes, (4 - rank) * bytes[stage]);
    EXPECT_EQ(timeline.levels.back().bytes, 0);
    EXPECT_EQ(timeline.levels.size(), 16u);
  }
}

TEST(RankTimeline, DualPipeHoldsOneMoreThanItsRanks) {
  schedule::BuildParams params;
  params.ranks = 8;
  params.micro_batches = 20;
  const schedule::Schedule lists = schedule::build("dualpipe", params);
  const schedule::Execution run = schedule::execute(lists, schedule::uniform_costs({{1}, {2}, {1}}, {3}));
  for (int rank = 0; rank < 8; ++rank) {
    EXPECT_LE(rank_timeline(lists, run, rank, std::vector<double>(8, 1.0)).peak_bytes, 9);
  }
  EXPECT_EQ(rank_timeline(lists, run, 0, std::vector<double>(8, 1.0)).peak_bytes, 9);
}

}  // namespace
}  // namespace lastbit::sim::memory

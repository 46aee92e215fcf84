#include "sim/schedule/list_scheduler.h"

#include <gtest/gtest.h>

namespace lastbit::sim::schedule {
namespace {

// Two ranks, F 1, B 2 of which W 1: small enough to play by hand.
BuildParams two_ranks(int micro_batches) {
  BuildParams params{.ranks = 2, .micro_batches = micro_batches};
  params.stages.assign(2, {{1}, {2}, {1}});
  return params;
}

std::string letters(const std::vector<Verb>& verbs) {
  std::string text;
  for (const Verb verb : verbs) text += verb == Verb::kForward ? 'F' : verb == Verb::kWeight ? 'W' : 'b';
  return text;
}

TEST(ListScheduler, PlaysBackwardsFirstAndWeightsInTheGaps) {
  ListRule rule;
  rule.limit = {2, 2};
  rule.run_ahead = {2, 1};
  const ListPlay played = play(two_ranks(3), rule);
  // Rank 0: F F . b W b F W . b W; rank 1: . F b F b W W F b W.
  EXPECT_EQ(letters(played.verbs[0]), "FFbWbFWbW");
  EXPECT_EQ(letters(played.verbs[1]), "FbFbWWFbW");
  EXPECT_EQ(played.total, SimTime{11});
}

TEST(ListScheduler, APatientRankWaitsForABackwardThatArrivesBeforeItsWeightWouldEnd) {
  BuildParams params = two_ranks(2);
  params.stages[1] = {{0.5}, {2}, {1}};
  ListRule rule;
  rule.limit = {2, 2};
  rule.run_ahead = {2, 1};
  // Rank 1 runs b0 to 2.5, F1, and b1 from 3 to 4; rank 0 runs b0 from 2.5 to 3.5, when b1 is known to come at 4.
  EXPECT_EQ(letters(play(params, rule).verbs[0]), "FFbWbW");
  rule.weight_patience = 1;
  EXPECT_EQ(letters(play(params, rule).verbs[0]), "FFbbWW");
}

TEST(ListScheduler, AlternatingRanksKeepTo1F1B) {
  ListRule rule;
  rule.limit = {4, 4};
  rule.run_ahead = {2, 1};
  rule.order = ListOrder::kAlternate;
  const ListPlay played = play(two_ranks(4), rule);
  for (const auto& [rank, order] : std::vector<std::pair<std::size_t, std::string>>{{0, "FFbFbFbb"}, {1, "FbFbFbFb"}}) {
    std::string without_weights = letters(played.verbs[rank]);
    std::erase(without_weights, 'W');
    EXPECT_EQ(without_weights, order);
  }
}

TEST(ListScheduler, ARuleThatDeadlocksNeverEnds) {
  ListRule rule;
  rule.limit = {0, 2};
  rule.run_ahead = {2, 2};
  EXPECT_EQ(play(two_ranks(2), rule).total, kNever);
  // The second rank wants three forwards before its first backward, the first rank gives it two.
  rule.limit = {3, 3};
  rule.run_ahead = {2, 3};
  rule.order = ListOrder::kAlternate;
  EXPECT_EQ(play(two_ranks(4), rule).total, kNever);
}

}  // namespace
}  // namespace lastbit::sim::schedule

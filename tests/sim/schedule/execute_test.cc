#include "sim/schedule/execute.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "sim/schedule/build.h"

namespace lastbit::sim::schedule {
namespace {

constexpr StageTimes kUnit{{1}, {2}, {1}};

Op op(Verb verb, int micro_batch) { return {verb, {micro_batch, 0}, {}}; }

// Two ranks, one micro-batch or more, lists as given.
Schedule two_ranks(int micro_batches, std::vector<Op> first, std::vector<Op> second) {
  Schedule schedule;
  schedule.kind = "own";
  schedule.ranks = 2;
  schedule.stages = 2;
  schedule.micro_batches = micro_batches;
  schedule.placement = {{{0, 0}}, {{1, 0}}};
  schedule.order = {std::move(first), std::move(second)};
  return schedule;
}

std::string error_of(const Schedule& schedule) {
  try {
    static_cast<void>(execute(schedule, uniform_costs(kUnit, {3})));
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  return "no error";
}

TEST(Execute, ListsThatLackRepeatOrMisplaceAVerbAreRefusedByName) {
  const std::vector<Op> good{op(Verb::kForward, 0), op(Verb::kBackward, 0)};
  EXPECT_EQ(error_of(two_ranks(1, good, good)), "no error");
  EXPECT_NE(error_of(two_ranks(1, good, {op(Verb::kForward, 0)})).find("rank 1: the list lacks the backward of"),
            std::string::npos);
  EXPECT_NE(error_of(two_ranks(1, {}, good)).find("rank 0: the list lacks the forward"), std::string::npos);
  EXPECT_NE(error_of(two_ranks(1, good, {op(Verb::kForward, 0), op(Verb::kBackwardInput, 0)})).find("weight part"),
            std::string::npos);
  EXPECT_NE(error_of(two_ranks(1, {op(Verb::kForward, 0), op(Verb::kForward, 0)}, good)).find("F0.0 is listed twice"),
            std::string::npos);
  EXPECT_NE(error_of(two_ranks(1, {op(Verb::kBackward, 0), op(Verb::kForward, 0)}, good)).find("BW0.0"),
            std::string::npos);
  EXPECT_NE(error_of(two_ranks(1, {op(Verb::kForward, 1)}, good)).find("F1.0 is out of range"), std::string::npos);
}

TEST(Execute, ADeadlockNamesTheVerbsThatWaitForEachOther) {
  const std::string error = error_of(
      two_ranks(2, {op(Verb::kForward, 0), op(Verb::kBackward, 0), op(Verb::kForward, 1), op(Verb::kBackward, 1)},
                {op(Verb::kForward, 0), op(Verb::kForward, 1), op(Verb::kBackward, 0), op(Verb::kBackward, 1)}));
  EXPECT_NE(error.find("rank 0: BW0.0"), std::string::npos) << error;
  EXPECT_NE(error.find("rank 1: F1.0"), std::string::npos) << error;
  EXPECT_EQ(error.find('\n'), std::string::npos);
}

TEST(Execute, UnequalStagesAndHopsComeOutByHand) {
  const Schedule schedule = build("1f1b", {.ranks = 2, .micro_batches = 2});
  const std::vector<StageTimes> stages{{{1}, {2}, {1}}, {{3}, {5}, {2}}};
  const Execution execution = execute(schedule, stage_costs(stages, [](int, int) { return SimTime{}; }, {0.5}));
  // Rank 1: F0 1.5-4.5, B0 4.5-9.5, F1 9.5-12.5, B1 12.5-17.5; rank 0: F0, F1 to 2, B0 10-12, B1 18-20.
  EXPECT_EQ(execution.total, SimTime{20});
  EXPECT_EQ(execution.finish, (std::vector<SimTime>{{20}, {17.5}}));
  EXPECT_EQ(execution.busy, (std::vector<SimTime>{{6}, {16}}));
  EXPECT_EQ(execution.bubble, (std::vector<SimTime>{{14}, {4}}));
  EXPECT_EQ(execution.split[1].forward, SimTime{6});
  EXPECT_EQ(execution.split[1].backward, SimTime{10});
  EXPECT_EQ(execution.peak_in_flight, (std::vector<int>{2, 1}));
}

// Two outputs that are ready together share the link: the second leaves when the first is through.
TEST(Execute, TransfersOverOneLinkFollowOneAnother) {
  const Schedule schedule = build("gpipe", {.ranks = 2, .micro_batches = 2});
  const Execution execution = execute(schedule, uniform_costs(kUnit, {3}, {0.5}, {4}));
  // Rank 0: F0 0-1, F1 1-2; the link is busy 1-5 and 5-9, so rank 1 has F0 5.5-6.5, F1 9.5-10.5, B0 10.5-12.5,
  // B1 12.5-14.5; back over the other link 12.5-16.5, 16.5-20.5: B0 17-19, B1 21-23.
  EXPECT_EQ(execution.total, SimTime{23});
  ASSERT_EQ(execution.links.size(), 2u);
  EXPECT_EQ(execution.links[0].from, 0);
  EXPECT_EQ(execution.links[0].to, 1);
  EXPECT_EQ(execution.links[0].transfers, 2);
  EXPECT_EQ(execution.links[1].busy, SimTime{8});
  EXPECT_TRUE(execute(schedule, uniform_costs(kUnit, {3})).links.empty());
}

TEST(Execute, ALinkThatIsNeverBusyIsALatency) {
  for (const char* kind : {"gpipe", "1f1b", "interleaved"}) {
    const BuildParams params{.ranks = 4, .micro_batches = 8, .chunks = kind == std::string("interleaved") ? 2 : 1};
    const Schedule schedule = build(kind, params);
    const SimTime with_transfer = execute(schedule, uniform_costs(kUnit, {3}, {0.25}, {0.5})).total;
    EXPECT_EQ(with_transfer, execute(schedule, uniform_costs(kUnit, {3}, {0.75})).total) << kind;
  }
  // A fused verb's two outputs leave for the same neighbour at once.
  const Schedule schedule = build("dualpipe", {.ranks = 4, .micro_batches = 8});
  EXPECT_GT(execute(schedule, uniform_costs(kUnit, {3}, {0.25}, {0.5})).total,
            execute(schedule, uniform_costs(kUnit, {3}, {0.75})).total);
}

TEST(Execute, TheFusedVerbOfAPairOfStagesIsAskedForByItsStages) {
  const Schedule schedule = build("dualpipe", {.ranks = 4, .micro_batches = 8});
  std::vector<std::pair<int, int>> pairs;
  const Execution execution = execute(schedule, stage_costs(std::vector<StageTimes>(4, kUnit),
                                                            [&pairs](int forward, int backward) {
                                                              pairs.emplace_back(forward, backward);
                                                              return SimTime{3};
                                                            },
                                                            {}));
  ASSERT_FALSE(pairs.empty());
  for (const auto& [forward, backward] : pairs) EXPECT_EQ(forward + backward, 3);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    const VerbTimes& split = execution.split[rank];
    EXPECT_DOUBLE_EQ(split.forward.s + split.backward.s + split.weight.s + split.fused.s, execution.busy[rank].s);
  }
}

}  // namespace
}  // namespace lastbit::sim::schedule

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "sim/schedule/build.h"
#include "sim/schedule/closed_form.h"
#include "sim/schedule/execute.h"

namespace lastbit::sim::schedule {
namespace {

int peak_of(const Execution& execution) {
  return *std::max_element(execution.peak_in_flight.begin(), execution.peak_in_flight.end());
}

TEST(ZeroBubbleV, EqualVerbsLeaveNoBubbleWithinTheMemoryOf1F1B) {
  const StageTimes times{{1}, {2}, {1}};
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const int micro_batches : {2 * ranks, 3 * ranks + 1, 5 * ranks}) {
      const Schedule schedule = build_uniform("zb-v", {.ranks = ranks, .micro_batches = micro_batches}, times);
      const Execution execution = execute(schedule, uniform_costs(times, {}));
      EXPECT_EQ(execution.total.s, 6 * micro_batches + ranks - 1) << ranks << " " << micro_batches;
      EXPECT_LE(peak_of(execution), 2 * ranks);
      const SimTime formula = closed_form(schedule, times, {})->bubble;
      for (const SimTime bubble : execution.bubble) EXPECT_EQ(bubble, formula);
      for (std::size_t rank = 0; rank < execution.timeline.size(); ++rank)  // none after the rank's first verb
        EXPECT_EQ(execution.finish[rank] - execution.timeline[rank].front().start, execution.busy[rank]);
    }
  }
}

TEST(ZeroBubbleV, AnyNumberOfMicroBatchesRuns) {
  for (int micro_batches = 1; micro_batches <= 9; ++micro_batches) {
    const StageTimes times{{1}, {2.3}, {0.9}};
    const Schedule schedule = build_uniform("zb-v", {.ranks = 4, .micro_batches = micro_batches}, times);
    const Execution execution = execute(schedule, uniform_costs(times, {}));
    EXPECT_LE(peak_of(execution), 8);
    EXPECT_GE(execution.total.s, 2 * micro_batches * 3.3);
  }
}

TEST(ZeroBubbleV, IsShorterThan1F1BOfTheSameStagesAndKeepsItsLimit) {
  for (const StageTimes& times : {StageTimes{{1}, {2.2}, {0.9}}, StageTimes{{1.1}, {2.3}, {0.7}}}) {
    double last = kNever.s;
    for (const int limit : {4, 6, 8, 12}) {
      const Schedule schedule =
          build_uniform("zb-v", {.ranks = 4, .micro_batches = 12, .activation_limit = limit}, times);
      const Execution execution = execute(schedule, uniform_costs(times, {}));
      EXPECT_LE(peak_of(execution), limit);
      EXPECT_LE(execution.total.s, last + 1e-9) << limit;
      last = execution.total.s;
    }
    const StageTimes whole{{2 * times.forward.s}, {2 * times.backward.s}, {2 * times.weight.s}};
    const Execution plain = execute(build("1f1b", {.ranks = 4, .micro_batches = 12}), uniform_costs(whole, {}));
    EXPECT_LT(last, plain.total.s);
  }
}

TEST(ZeroBubbleV, BuildsForUnequalStagesAndHops) {
  BuildParams params{.ranks = 3, .micro_batches = 9};
  params.stages.assign(6, {{1}, {2}, {0.8}});
  params.stages[5] = {{1.5}, {3}, {1.2}};
  params.hop = {0.1};
  const Execution execution =
      execute(build("zb-v", params), stage_costs(
                                         params.stages, [](int, int) { return SimTime{}; }, params.hop));
  EXPECT_GE(execution.total.s, 9 * 7.5);
  EXPECT_LE(execution.total.s, 9 * 7.5 + 6);
}

}  // namespace
}  // namespace lastbit::sim::schedule

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "golden.h"
#include "sim/schedule/build.h"
#include "sim/schedule/closed_form.h"
#include "sim/schedule/execute.h"
#include "support/shared.h"

namespace lastbit::sim::schedule {
namespace {

constexpr double kAgreement = 1e-9;

// Within the file's own peak on its fullest rank (or a tighter limit) the total is no longer than the file's.
void expect_no_worse(const Golden& golden, const std::string& kind, int limit) {
  SCOPED_TRACE(golden.name + ", limit " + std::to_string(limit));
  BuildParams params = golden.params;
  params.activation_limit = limit;
  const Schedule schedule = build(kind, params);
  const Execution execution = execute(schedule, uniform_costs(golden.times, golden.fused));
  EXPECT_LE(execution.total.s, golden.total + kAgreement);
  if (limit == 0) limit = schedule.activation_limit;
  EXPECT_LE(*std::max_element(execution.peak_in_flight.begin(), execution.peak_in_flight.end()), limit);
}

TEST(ZeroBubble, H1IsNoWorseThanTheReferenceHeuristic) {
  LASTBIT_NEEDS_SHARED();
  const std::vector<Golden> files = load_golden("zb_h1");
  ASSERT_GE(files.size(), 2u);
  for (const Golden& golden : files) {
    expect_no_worse(golden, "zb-h1", *std::max_element(golden.peak.begin(), golden.peak.end()));
    expect_no_worse(golden, "zb-h1", *std::min_element(golden.peak.begin(), golden.peak.end()));
    expect_no_worse(golden, "zb1p", 0);
  }
}

TEST(ZeroBubble, H2IsNoWorseThanTheReferenceHeuristic) {
  LASTBIT_NEEDS_SHARED();
  const std::vector<Golden> files = load_golden("zb_h2");
  ASSERT_GE(files.size(), 1u);
  for (const Golden& golden : files) {
    expect_no_worse(golden, "zb-h2", *std::max_element(golden.peak.begin(), golden.peak.end()));
    expect_no_worse(golden, "zb-h2", 0);
  }
}

TEST(ZeroBubble, H1ReachesTheClosedFormWithAsManyInFlightAs1F1B) {
  for (const int ranks : {2, 4, 8, 16}) {
    for (const StageTimes& times : {StageTimes{{1}, {2}, {1}}, StageTimes{{1}, {2}, {0.9}}}) {
      const Schedule schedule = build_uniform("zb-h1", {.ranks = ranks, .micro_batches = 3 * ranks}, times);
      const Execution execution = execute(schedule, uniform_costs(times, {}));
      const SimTime bubble = closed_form(schedule, times, {})->bubble;
      for (const SimTime executed : execution.bubble) EXPECT_LE(executed.s, bubble.s + kAgreement) << ranks;
      EXPECT_EQ(schedule.activation_limit, ranks);
    }
  }
}

TEST(ZeroBubble, MoreInFlightIsNeverSlower) {
  const StageTimes times{{1.1}, {2.3}, {0.7}};
  double last = kNever.s;
  for (int limit = 1; limit <= 12; ++limit) {
    const Schedule schedule =
        build_uniform("zb-h1", {.ranks = 6, .micro_batches = 13, .activation_limit = limit}, times);
    const Execution execution = execute(schedule, uniform_costs(times, {}));
    EXPECT_LE(*std::max_element(execution.peak_in_flight.begin(), execution.peak_in_flight.end()), limit);
    EXPECT_LE(execution.total.s, last + kAgreement) << limit;
    last = execution.total.s;
  }
}

// The lists are built for the stages' own durations: a heavy last stage is the bottleneck whatever the order.
TEST(ZeroBubble, BuildsForUnequalStages) {
  BuildParams params{.ranks = 4, .micro_batches = 12};
  params.stages.assign(4, {{1}, {2}, {0.8}});
  params.stages[3] = {{1.5}, {3}, {1.2}};
  params.hop = {0.1};
  const Schedule schedule = build("zb-h1", params);
  const Execution execution = execute(schedule, stage_costs(
                                                    params.stages, [](int, int) { return SimTime{}; }, params.hop));
  const double bound = 3 * 1.1 + 12 * 4.5;
  EXPECT_GE(execution.total.s, bound - kAgreement);
  EXPECT_LE(execution.total.s, bound + 1.5);
}

}  // namespace
}  // namespace lastbit::sim::schedule

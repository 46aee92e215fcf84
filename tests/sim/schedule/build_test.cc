#include "sim/schedule/build.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "sim/schedule/closed_form.h"
#include "sim/schedule/execute.h"

namespace lastbit::sim::schedule {
namespace {

core::Error error_of(const std::string& kind, const BuildParams& params) {
  try {
    static_cast<void>(build_uniform(kind, params, {{1}, {2}, {1}}));
  } catch (const core::Error& error) {
    return error;
  }
  return {core::ErrorKind::kInternal, "no error"};
}

void expect_refused(const std::string& kind, const BuildParams& params, const std::string& part,
                    core::ErrorKind as = core::ErrorKind::kInput) {
  const core::Error error = error_of(kind, params);
  EXPECT_EQ(error.kind(), as) << error.what();
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
}

TEST(Build, RefusesParametersWithTheRuleTheyBreak) {
  expect_refused("dualpipe", {.ranks = 3, .micro_batches = 8}, "even number of pipeline ranks, found 3");
  expect_refused("dualpipe", {.ranks = 4, .micro_batches = 9}, "even number of micro-batches, found 9");
  expect_refused("dualpipe", {.ranks = 4, .micro_batches = 6}, "found 6, expected 8 or more");
  expect_refused("dualpipev", {.ranks = 4, .micro_batches = 7}, "found 7, expected 8 or more");
  expect_refused("interleaved", {.ranks = 4, .micro_batches = 6, .chunks = 2}, "multiple of the 4 pipeline ranks");
  expect_refused("interleaved", {.ranks = 4, .micro_batches = 8}, "at least 2 chunks");
  expect_refused("1f1b", {.ranks = 4, .micro_batches = 8, .chunks = 2}, "1f1b does not take a number of chunks");
  expect_refused("1f1b", {.ranks = 0, .micro_batches = 8}, "pipeline ranks: found 0");
  expect_refused("1f1b", {.ranks = 1, .micro_batches = 0}, "micro-batches: found 0");
  expect_refused("1f1b", {.ranks = 100000, .micro_batches = 100000}, "3e+10 verbs");
  expect_refused("zb-v", {.ranks = 4, .micro_batches = 8, .activation_limit = 1}, "limit of 2 or more");
  expect_refused("dualpip", {.ranks = 4, .micro_batches = 8}, "did you mean 'dualpipe'?");
}

// The executed bubbles of every rank less the closed form, for a few sizes.
std::vector<double> beyond_closed_form(const std::string& kind, const StageTimes& times, SimTime fused) {
  std::vector<double> differences;
  for (const int ranks : {2, 4, 8}) {
    BuildParams params{.ranks = ranks, .micro_batches = 4 * ranks};
    if (kind == "interleaved") params.chunks = 3;
    const Schedule schedule = build_uniform(kind, params, times);
    const Execution execution = execute(schedule, uniform_costs(times, fused));
    const SimTime formula = closed_form(schedule, times, fused)->bubble;
    for (const SimTime bubble : execution.bubble) differences.push_back(bubble.s - formula.s);
  }
  return differences;
}

TEST(Build, ExecutedBubblesMeetTheClosedForms) {
  for (const char* kind : {"gpipe", "1f1b", "interleaved"}) {
    for (const double difference : beyond_closed_form(kind, {{1.5}, {3.25}, {1.25}}, {}))
      EXPECT_NEAR(difference, 0, 1e-9) << kind;
  }
  for (const char* kind : {"dualpipe", "dualpipev"}) {
    for (const double difference : beyond_closed_form(kind, {{1.5}, {3}, {1.5}}, {4.5}))
      EXPECT_NEAR(difference, 0, 1e-9) << kind;
  }
}

TEST(Build, NamesMayBeWrittenAsOthersDo) {
  for (const auto& [written, name] :
       std::vector<std::pair<std::string, std::string>>{{"zb_h1", "zb-h1"},
                                                        {"zbh2", "zb-h2"},
                                                        {"zb1p", "zb-h1"},
                                                        {"interleaved_1f1b", "interleaved"},
                                                        {"zbv", "zb-v"}})
    EXPECT_EQ(find_kind(written).name, name);
}

TEST(Build, ZeroBubbleKindsNeedADurationForEachStage) {
  BuildParams params{.ranks = 4, .micro_batches = 8};
  params.stages.assign(4, {{1}, {2}, {1}});
  EXPECT_THROW(static_cast<void>(build("zb-v", params)), core::Error);
  params.stages.pop_back();
  EXPECT_THROW(static_cast<void>(build("zb-h1", params)), core::Error);
}

// DualPipe's formula is exact when F, W and the input gradient are equal and F&B is their sum, a bound otherwise.
TEST(Build, TheDualPipeBubbleIsNeverLongerThanTheFormula) {
  for (const char* kind : {"dualpipe", "dualpipev"}) {
    for (const StageTimes& times : {StageTimes{{1}, {2}, {0.6}}, StageTimes{{1.1}, {2.3}, {0.7}},
                                    StageTimes{{5}, {11}, {3}}, StageTimes{{1}, {2.4}, {1.2}}}) {
      for (const double overlap : {0.8, 0.9, 1.0}) {
        const SimTime fused{overlap * (times.forward.s + times.backward.s)};
        for (const double difference : beyond_closed_form(kind, times, fused)) EXPECT_LE(difference, 1e-9) << kind;
      }
    }
  }
}

struct Drawn {
  std::string kind;
  BuildParams params;
  StageTimes times;
  SimTime fused;
};

Drawn draw() {
  Drawn drawn;
  drawn.kind = *rc::gen::elementOf(
      std::vector<std::string>{"gpipe", "1f1b", "interleaved", "zb-h1", "zb-h2", "zb-v", "dualpipe", "dualpipev"});
  drawn.params.ranks = *rc::gen::inRange(1, 9);
  drawn.params.micro_batches = *rc::gen::inRange(1, 20);
  if (drawn.kind == "dualpipe") drawn.params.ranks += drawn.params.ranks % 2;
  if (drawn.kind == "dualpipe" || drawn.kind == "dualpipev")
    drawn.params.micro_batches = 2 * (drawn.params.ranks + drawn.params.micro_batches);
  if (drawn.kind == "interleaved") {
    drawn.params.chunks = *rc::gen::inRange(2, 5);
    drawn.params.micro_batches = drawn.params.ranks * *rc::gen::inRange(1, 4);
  }
  if (drawn.kind.starts_with("zb")) drawn.params.activation_limit = *rc::gen::inRange(0, 12);
  if (drawn.kind == "zb-v" && drawn.params.activation_limit == 1) drawn.params.activation_limit = 2;
  const double weight = *rc::gen::inRange(0, 300) / 100.0;
  drawn.times = {{*rc::gen::inRange(1, 400) / 100.0}, {weight + *rc::gen::inRange(1, 400) / 100.0}, {weight}};
  drawn.fused = {drawn.times.forward.s + drawn.times.backward.s * 0.75};
  return drawn;
}

// Ends and starts of each micro-batch's passage through each stage.
struct Passage {
  double forward_start = -1, forward_end = -1, backward_start = -1, backward_end = -1, weight_start = -1;
};
using Passages = std::map<std::tuple<int, int, int>, Passage>;  // by path, stage, micro-batch

void record(Passages& passages, const Schedule& schedule, int rank, const TimedOp& timed) {
  const auto at = [&](const Chunk& chunk) -> Passage& {
    const Placement& place = schedule.at(rank, chunk.slot);
    return passages[{place.path, place.stage, chunk.micro_batch}];
  };
  const Op& op = timed.op;
  if (op.verb == Verb::kForward || op.verb == Verb::kFused) {
    RC_ASSERT(at(op.chunk).forward_start < 0);
    at(op.chunk).forward_start = timed.start.s;
    at(op.chunk).forward_end = timed.end.s;
  }
  if (op.verb == Verb::kBackward || op.verb == Verb::kBackwardInput || op.verb == Verb::kFused) {
    Passage& passage = at(op.verb == Verb::kFused ? op.second : op.chunk);
    RC_ASSERT(passage.backward_start < 0);
    passage.backward_start = timed.start.s;
    passage.backward_end = timed.end.s;
    if (op.verb != Verb::kBackwardInput) passage.weight_start = timed.end.s;
  }
  if (op.verb == Verb::kWeight) {
    RC_ASSERT(at(op.chunk).weight_start < 0);
    at(op.chunk).weight_start = timed.start.s;
  }
}

RC_GTEST_PROP(Build, EveryScheduleRunsEveryMicroBatchOnceInOrderWithinItsLimit, ()) {
  const Drawn drawn = draw();
  const Schedule schedule = build_uniform(drawn.kind, drawn.params, drawn.times);
  const SimTime hop{*rc::gen::inRange(0, 50) / 100.0};
  const Execution execution = execute(schedule, uniform_costs(drawn.times, drawn.fused, hop));
  Passages passages;
  for (int rank = 0; rank < schedule.ranks; ++rank) {
    double end = 0;
    for (const TimedOp& timed : execution.timeline[static_cast<std::size_t>(rank)]) {
      RC_ASSERT(timed.start.s >= end);
      end = timed.end.s;
      record(passages, schedule, rank, timed);
    }
  }
  RC_ASSERT(passages.size() == static_cast<std::size_t>(schedule.stages * schedule.micro_batches));
  for (const auto& [key, passage] : passages) {
    const auto& [path, stage, micro_batch] = key;
    RC_ASSERT(passage.forward_start >= 0);
    RC_ASSERT(passage.backward_start >= passage.forward_end);
    RC_ASSERT(passage.weight_start >= passage.backward_end);
    if (stage > 0) RC_ASSERT(passage.forward_start >= passages.at({path, stage - 1, micro_batch}).forward_end);
    if (stage + 1 < schedule.stages)
      RC_ASSERT(passage.backward_start >= passages.at({path, stage + 1, micro_batch}).backward_end);
  }
  if (schedule.activation_limit > 0) {
    for (const int peak : execution.peak_in_flight) RC_ASSERT(peak <= schedule.activation_limit);
  }
  const auto most = std::max_element(execution.finish.begin(), execution.finish.end());
  RC_ASSERT(*most == execution.total);
}

}  // namespace
}  // namespace lastbit::sim::schedule

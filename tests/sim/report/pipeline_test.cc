#include "sim/report/pipeline.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "sim/schedule/build.h"
#include "support/shared.h"

namespace lastbit::sim::report {
namespace {

using schedule::BuildParams;
using schedule::StageTimes;

constexpr StageTimes kUnit{{1}, {2}, {1}};

TEST(Gantt, DrawsWhatARankDoesInTheMiddleOfEachColumn) {
  const schedule::Schedule built = schedule::build_uniform("1f1b", {.ranks = 2, .micro_batches = 2}, kUnit);
  const schedule::Execution execution = schedule::execute(built, schedule::uniform_costs(kUnit, {3}));
  EXPECT_EQ(gantt(execution, 9),
            "   0  FF..BB.BB\n"
            "   1  .FBBFBB..\n");
}

TEST(AddPipeline, HasASpanForEveryVerb) {
  const testing::TempDir dir;
  const schedule::Schedule built = schedule::build_uniform("dualpipe", {.ranks = 4, .micro_batches = 8}, kUnit);
  const schedule::Execution execution = schedule::execute(built, schedule::uniform_costs(kUnit, {3}));
  ChromeTrace trace(dir.file("trace.json"));
  add_pipeline(trace, 0, built, execution, 1e-3);
  trace.finish();
  std::size_t spans = 0;
  double busy_us = 0;
  const nlohmann::json written = io::load_json(dir.file("trace.json"));
  for (const nlohmann::json& event : written.at("traceEvents")) {
    if (event.at("ph") != "X") continue;
    ++spans;
    busy_us += event.at("dur").get<double>();
  }
  std::size_t verbs = 0;
  double busy = 0;
  for (const auto& list : built.order) verbs += list.size();
  for (const SimTime time : execution.busy) busy += time.s;
  EXPECT_EQ(spans, verbs);
  EXPECT_NEAR(busy_us, busy * 1000, 1e-3);
}

}  // namespace
}  // namespace lastbit::sim::report

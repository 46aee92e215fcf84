#include "sim/schedule/schedule_file.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/atomic_file.h"
#include "sim/schedule/build.h"
#include "sim/schedule/execute.h"
#include "support/shared.h"

namespace lastbit::sim::schedule {
namespace {

constexpr StageTimes kOne{{1}, {2}, {1}};

std::string file_refusal(const std::string& text) {
  try {
    static_cast<void>(parse_schedule(text, "own.toml", true));
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "accepted";
}

TEST(ScheduleFile, ReadsAnOrderOfOnesOwn) {
  const Schedule schedule = parse_schedule(R"(
name = "mine"
micro_batches = 2
order = [
  """F0 F1  BW0.0
     BW1""",
  "F0 B0 F1 B1 W0 W1",
])",
                                           "own.toml", true);
  EXPECT_EQ(schedule.kind, "mine");
  EXPECT_EQ(schedule.ranks, 2);
  EXPECT_EQ(schedule.stages, 2);
  // Rank 1: F0 1-2, B0 2-3, F1 3-4, B1 4-5, W0 5-6, W1 6-7; rank 0: F0, F1, BW0 3-5, BW1 5-7.
  const Execution execution = execute(schedule, uniform_costs(kOne, {3}));
  EXPECT_EQ(execution.total, SimTime{7});
  EXPECT_EQ(execution.peak_in_flight, (std::vector<int>{2, 2}));
}

TEST(ScheduleFile, ARankMayHoldMoreStagesThanAnother) {
  const Schedule schedule = parse_schedule(R"(
micro_batches = 1
stages = [[0, 2], [1]]
order = ["F0.0 F0.1 BW0.1 BW0.0", "F0 BW0"])",
                                           "own.toml", true);
  EXPECT_EQ(schedule.stages, 3);
  EXPECT_EQ(execute(schedule, uniform_costs(kOne, {3})).total, SimTime{9});
}

RC_GTEST_PROP(ScheduleFile, EveryKindComesBackFromItsText, ()) {
  const Kind kind = *rc::gen::elementOf(kinds());
  BuildParams params{.ranks = 2 * *rc::gen::inRange(1, 4), .micro_batches = 0};
  params.micro_batches = 2 * params.ranks * *rc::gen::inRange(1, 3);
  if (kind.slots == 0) params.chunks = *rc::gen::inRange(2, 4);
  const Schedule built = build_uniform(kind.name, params, kOne);
  const Schedule read = parse_schedule(schedule_text(built), "text", true);
  RC_ASSERT(read.kind == built.kind);
  RC_ASSERT(read.order == built.order);
  RC_ASSERT(read.stages == built.stages);
  RC_ASSERT(read.paths == built.paths);
  RC_ASSERT(read.micro_batches == built.micro_batches);
  for (int rank = 0; rank < built.ranks; ++rank) {
    for (int slot = 0; slot < built.slots; ++slot) {
      RC_ASSERT(read.at(rank, slot).stage == built.at(rank, slot).stage);
      RC_ASSERT(read.at(rank, slot).path == built.at(rank, slot).path);
    }
  }
}

// The orders that other implementations printed, as a user's own files: total, bubbles and peaks are theirs.
TEST(ScheduleFile, ExecutesThePublishedOrders) {
  LASTBIT_NEEDS_SHARED();
  int files = 0;
  for (const char* name : {"zbh1_pp4_m8", "zbh1_pp8_m24", "zbh2_pp4_m12", "1f1b_pp4_m8"}) {
    std::ifstream stream(testing::shared_path(std::string("groundtruth/pipeline/") + name + ".json"));
    const nlohmann::json golden = nlohmann::json::parse(stream);
    const nlohmann::json own{{"micro_batches", golden.at("micro_batches")}, {"order", golden.at("order_per_rank")}};
    const Schedule schedule = parse_schedule(own.dump(), "own.json", false);
    const nlohmann::json& d = golden.at("durations");
    const Execution execution = execute(schedule, uniform_costs({{d.at("F")}, {d.at("B_full")}, {d.at("W")}}, {}));
    const nlohmann::json& expected = golden.at("result");
    EXPECT_NEAR(execution.total.s, expected.at("total").get<double>(), 1e-9) << name;
    for (std::size_t rank = 0; rank < execution.bubble.size(); ++rank)
      EXPECT_NEAR(execution.bubble[rank].s, expected.at("rank_bubble")[rank].get<double>(), 1e-9) << name;
    EXPECT_EQ(execution.peak_in_flight, expected.at("peak_inflight_activations_per_rank").get<std::vector<int>>());
    ++files;
  }
  EXPECT_EQ(files, 4);
}

TEST(ScheduleFile, RefusesWhatIsNoSchedule) {
  const std::string good = "micro_batches = 1\n";
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"order = [\"F0 BW0\"]", "no key 'micro_batches'"},
           {good, "no key 'order'"},
           {good + "order = []", "the verbs of 1 to 65536 ranks"},
           {good + "order = [3]", "the verbs of 1 to 65536 ranks"},
           {good + "order = [[\"F0\", 1]]", "the verbs of 1 to 65536 ranks"},
           {good + "order = [\"F0 X0\"]", "rank 0: found string \"X0\", expected a verb such as F3.0"},
           {good + "order = [\"F0 B\"]", "found string \"B\""},
           {good + "order = [\"F0 BW0.0.0\"]", "found string"},
           {good + "order = [\"F0 BW99999999999\"]", "found string"},
           {good + "order = [\"F0&B0\"]", "found string \"F0&B0\""},
           {good + "labels = \"direction\"\norder = [\"F0 B0\"]", "found string \"F0\", expected a verb such as F0.3"},
           {good + "labels = \"x\"\norder = [\"F0 BW0\"]", "one of chunk, direction"},
           {good + "order = [\"F0 BW0\"]\nordr = 1", "unknown key 'ordr'"},
           {good + "order = [\"F0 BW1\"]", "BW1.0 is out of range"},
           {good + "order = [\"F0 F0\"]", "listed twice"},
           {good + "order = [\"F0&BW0\"]", "F0.0&BW0.0 is listed twice, or before what it needs"},
           {good + "order = [\"F0\", \"F0 BW0\"]", "rank 0: the list lacks the backward"},
           {"micro_batches = 2147483647\norder = [\"F0 BW0\"]", "2 verbs cannot run 2147483647 micro-batches"},
           {good + "stages = [[0], [1]]\norder = [\"F0 BW0\"]", "stage numbers for each of 1 ranks"},
           {good + "stages = [[-1]]\norder = [\"F0 BW0\"]", "numbers from 0"},
           {good + "stages = [[1]]\norder = [\"F0 BW0\"]", "ranks hold 1 stages in all, expected 2"},
           {good + "stages = [[0], [0]]\norder = [\"F0 BW0\", \"F0 BW0\"]", "ranks hold 2 stages in all, expected 1"},
           {good + "paths = [0, 1]\norder = [\"F0 BW0\"]", "a path for each of 1 slots"},
           {good + "stages = [[0, 0]]\npaths = [0, 1]\norder = [\"F0.0 BW0.0\"]", "do not divide among 2 paths"},
           {"micro_batches = 2\nstages = [[0, 2], [0, 0]]\norder = [\"F0 BW0 F1 BW1\", \"F0 BW0 F1 BW1\"]",
            "ranks hold 4 stages in all, expected 3"},
           {"micro_batches = 1\nstages = [[0, 0], [0, 2]]\npaths = [0, 0]\norder = [\"F0 BW0\", \"F0 BW0\"]",
            "stages"}})
    EXPECT_NE(file_refusal(text).find(part), std::string::npos) << text << ":\n" << file_refusal(text);
  EXPECT_EQ(file_refusal(good + "order = [\"F0 BW0\"]"), "accepted");
}

TEST(ScheduleFile, ReadsTomlAndJsonFiles) {
  const testing::TempDir dir;
  const Schedule built = build("dualpipe", {.ranks = 2, .micro_batches = 4});
  io::write_text_file(dir.file("d.toml"), schedule_text(built));
  EXPECT_EQ(load_schedule(dir.file("d.toml")).order, built.order);
  io::write_text_file(dir.file("d.json"), R"({"micro_batches": 1, "order": ["F0 BW0"]})");
  EXPECT_EQ(load_schedule(dir.file("d.json")).order.size(), 1u);
  EXPECT_THROW(static_cast<void>(load_schedule(dir.file("none.toml"))), core::Error);
}

}  // namespace
}  // namespace lastbit::sim::schedule

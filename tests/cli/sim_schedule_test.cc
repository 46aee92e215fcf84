// lastbit sim schedule, as a user runs it.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "support/cli.h"
#include "support/shared.h"

namespace lastbit::testing {
namespace {

using nlohmann::json;

// `more` is options with their values; they replace those given here.
std::vector<std::string> arguments(const std::string& kind, const std::vector<std::string>& more = {}) {
  std::vector<std::string> all{"sim", "schedule", "--kind", kind};
  for (const auto& [option, value] : std::vector<std::pair<std::string, std::string>>{
           {"--pp", "4"}, {"--micro-batches", "8"}, {"--f", "1"}, {"--b", "2"}, {"--w", "1"}})
    if (std::find(more.begin(), more.end(), option) == more.end()) all.insert(all.end(), {option, value});
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string number(const json& value) { return value.dump(); }

// Runs the file's parameters through the program; `kind` as on the command line.
json run_golden(const json& file, const std::string& kind) {
  const json& durations = file.at("durations");
  std::vector<std::string> args{"sim",
                                "schedule",
                                "--kind",
                                kind,
                                "--pp",
                                number(file.at("PP_ranks")),
                                "--micro-batches",
                                number(file.at("micro_batches")),
                                "--f",
                                number(durations.at("F")),
                                "--b",
                                number(durations.at("B_full")),
                                "--w",
                                number(durations.at("W")),
                                "--json"};
  if (durations.contains("FB_overlapped")) {
    args.insert(args.end(), {"--fb", number(durations.at("FB_overlapped"))});
  }
  const CliResult result = run_cli(args);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  return json::parse(result.out);
}

TEST(SimSchedule, AgreesWithTheGoldenTimelines) {
  LASTBIT_NEEDS_SHARED();
  for (const auto& [kind, name] : std::vector<std::pair<std::string, std::string>>{
           {"1f1b", "1f1b_pp4_m8"}, {"dualpipe", "dualpipe_pp8_m20_overlap"}, {"dualpipe", "dualpipe_pp2_m4"}}) {
    std::ifstream stream(shared_path("groundtruth/pipeline/" + name + ".json"));
    const json golden = json::parse(stream);
    const json out = run_golden(golden, kind);
    const json& expected = golden.at("result");
    EXPECT_NEAR(out.at("total").get<double>(), expected.at("total").get<double>(), 1e-9);
    const json& bubbles = out.at("bubble_per_rank");
    ASSERT_EQ(bubbles.size(), expected.at("rank_bubble").size());
    for (std::size_t rank = 0; rank < bubbles.size(); ++rank)
      EXPECT_NEAR(bubbles[rank].get<double>(), expected.at("rank_bubble")[rank].get<double>(), 1e-9) << rank;
    EXPECT_EQ(out.at("order_per_rank"), golden.at("order_per_rank"));
    EXPECT_NEAR(out.at("closed_form").at("bubble").get<double>(), expected.at("formula_bubble").get<double>(), 1e-9);
  }
}

TEST(SimSchedule, PrintsTheClosedFormBesideTheExecutedBubble) {
  const CliResult result = run_cli(arguments("zb1p"));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  for (const char* part : {"zb-h1: 4 ranks, 8 micro-batches", "activation limit  4 micro-batches in flight (the sched",
                           "total             27\n", "bubble, executed  3 to 3", "bubble, formula   3 = (P-1)(F+B-2W)"})
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " in\n" << result.out;
}

TEST(SimSchedule, KeepsTheActivationLimit) {
  const CliResult result = run_cli(arguments("zb-h1", {"--activation-limit", "2", "--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json out = json::parse(result.out);
  for (const json& peak : out.at("peak_in_flight_per_rank")) EXPECT_LE(peak.get<int>(), 2);
  EXPECT_EQ(out.at("config").at("activation_limit"), 2);
  expect_one_line_error(run_cli(arguments("1f1b", {"--activation-limit", "3"})), 2,
                        {"4 micro-batches in flight on rank 0", "limit of 3"});
}

TEST(SimSchedule, SaysWhenAFusedDurationChangesNothing) {
  const CliResult result = run_cli(arguments("1f1b", {"--fb", "3", "--json"}));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("--fb changes nothing"), std::string::npos);
  EXPECT_EQ(json::parse(result.out).at("total"), 33.0);
}

TEST(SimSchedule, WritesATrace) {
  const TempDir dir;
  const CliResult result = run_cli(arguments("dualpipe", {"--json", "--trace", dir.file("trace.json")}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::ifstream stream(dir.file("trace.json"));
  const json trace = json::parse(stream);
  double last_us = 0;
  for (const json& event : trace.at("traceEvents"))
    if (event.at("ph") == "X")
      last_us = std::max(last_us, event.at("ts").get<double>() + event.at("dur").get<double>());
  EXPECT_EQ(last_us, json::parse(result.out).at("total").get<double>() * 1e3);  // a unit of time is 1 ms
}

TEST(SimSchedule, RefusesWhatBreaksARule) {
  expect_one_line_error(run_cli(arguments("dualpipe", {"--pp", "3"})), 2, {"even number of pipeline ranks, found 3"});
  expect_one_line_error(run_cli(arguments("dualpip")), 2, {"unknown schedule 'dualpip'", "did you mean 'dualpipe'?"});
  expect_one_line_error(run_cli(arguments("zb-v")), 4, {"zb-v", "not available"});
  expect_one_line_error(run_cli(arguments("1f1b", {"--w", "3"})), 2, {"W is 3, expected at most B, 2"});
  expect_one_line_error(run_cli(arguments("1f1b", {"--f", "nan"})), 2, {"F is nan"});
  expect_one_line_error(run_cli(arguments("1f1b", {"--f", "-1"})), 2, {"F is -1"});
  expect_one_line_error(run_cli(arguments("zb-h1", {"--f", "1e308"})), 2, {"F is 1e+308"});
  expect_one_line_error(run_cli(arguments("1f1b", {"--pp", "0"})), 2, {"pipeline ranks: found 0"});
  expect_one_line_error(run_cli(arguments("1f1b", {"--micro-batches", "x"})), 2, {"--micro-batches"});
  expect_one_line_error(run_cli(arguments("zb-h1", {"--activation-limit", "0"})), 2, {"--activation-limit"});
  expect_one_line_error(run_cli({"sim", "schedule", "--kind", "1f1b"}), 2, {"--pp"});
  expect_one_line_error(run_cli({"sim"}), 2, {"subcommand"});
}

TEST(SimSchedule, WritesNoTraceWhereItCannot) {
  const TempDir dir;
  expect_one_line_error(run_cli(arguments("1f1b", {"--trace", dir.file("none/trace.json")})), 2, {"none"});
}

}  // namespace
}  // namespace lastbit::testing

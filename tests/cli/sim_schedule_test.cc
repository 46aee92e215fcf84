// lastbit sim schedule, as a user runs it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
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
json run_golden(const json& file, const std::string& kind, const std::vector<std::string>& more = {}) {
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
  args.insert(args.end(), more.begin(), more.end());
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

TEST(SimSchedule, EveryGoldenFileComesOutOfTheProgram) {
  LASTBIT_NEEDS_SHARED();
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(shared_path("groundtruth/pipeline"))) {
    std::ifstream stream(entry.path());
    const json golden = json::parse(stream);
    const json& expected = golden.at("result");
    const std::string kind = golden.at("schedule");
    const bool zero_bubble = kind.starts_with("zb");
    const char* in_flight = expected.contains("peak_inflight_activations_per_rank")
                                ? "peak_inflight_activations_per_rank"
                                : "peak_inflight_forward_chunks_per_rank";
    const auto peaks = expected.at(in_flight).get<std::vector<int>>();
    std::vector<std::string> more{"--chunks", number(golden.value("virtual_chunks", 1))};
    const int limit = *std::max_element(peaks.begin(), peaks.end());
    if (zero_bubble) more = {"--activation-limit", std::to_string(limit)};
    const json out = run_golden(golden, kind, more);
    ++files;
    if (zero_bubble) {
      EXPECT_LE(out.at("total").get<double>(), expected.at("total").get<double>() + 1e-9) << entry.path();
      const auto found = out.at("peak_in_flight_per_rank").get<std::vector<int>>();
      EXPECT_LE(*std::max_element(found.begin(), found.end()), limit) << entry.path();
      continue;
    }
    EXPECT_NEAR(out.at("total").get<double>(), expected.at("total").get<double>(), 1e-9) << entry.path();
    for (std::size_t rank = 0; rank < peaks.size(); ++rank)
      EXPECT_NEAR(out.at("bubble_per_rank")[rank].get<double>(), expected.at("rank_bubble")[rank].get<double>(), 1e-9);
    EXPECT_EQ(out.at("peak_in_flight_per_rank"), expected.at(in_flight)) << entry.path();
    if (golden.contains("order_per_rank")) {
      EXPECT_EQ(out.at("order_per_rank"), golden.at("order_per_rank")) << entry.path();
    }
  }
  EXPECT_GE(files, 14);
}

TEST(SimSchedule, StagesMayDiffer) {
  const CliResult result = run_cli(arguments("1f1b", {"--f", "1,1,1,2", "--b", "2,2,2,4", "--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json out = json::parse(result.out);
  EXPECT_EQ(out.at("total"), 3 + 8 * 6 + 3 * 2);  // the last stage is never idle once it has begun
  EXPECT_EQ(out.at("config").at("f"), (std::vector<double>{1, 1, 1, 2}));
  EXPECT_EQ(out.at("config").at("w"), 1.0);
  EXPECT_TRUE(out.at("closed_form").is_null());
  expect_one_line_error(run_cli(arguments("1f1b", {"--f", "1,2"})), 2, {"--f: found 2 values, expected 1, or 4"});
  expect_one_line_error(run_cli(arguments("1f1b", {"--f", "1,1,1,-2"})), 2, {"F of stage 3 is -2"});
  expect_one_line_error(run_cli(arguments("dualpipev", {"--f", "1,2,3,4"})), 2, {"expected 1, or 8"});
}

TEST(SimSchedule, PrintsListsThatItReadsAgain) {
  const TempDir dir;
  const CliResult lists = run_cli(arguments("dualpipe", {"--lists", "--save-lists", dir.file("own.toml")}));
  ASSERT_EQ(lists.exit_code, 0) << lists.err;
  EXPECT_EQ(lists.out, read_file(dir.file("own.toml")));
  EXPECT_NE(lists.out.find("\"F0.0 F0.1 F0.2 F1.0 Bi1.0 W1.0 F1.1 F0.3&B1.1"), std::string::npos) << lists.out;
  const std::vector<std::string> durations{"--f", "1", "--b", "2", "--w", "1", "--json"};
  std::vector<std::string> from_file{"sim", "schedule", "--file", dir.file("own.toml")};
  from_file.insert(from_file.end(), durations.begin(), durations.end());
  const CliResult read = run_cli(from_file);
  ASSERT_EQ(read.exit_code, 0) << read.err;
  json built = json::parse(run_cli(arguments("dualpipe", {"--json"})).out);
  built["closed_form"] = nullptr;  // nobody gave one for an order of one's own
  EXPECT_EQ(json::parse(read.out), built);
}

TEST(SimSchedule, SimulatesChunksOperatorByOperator) {
  const TempDir dir;
  io::write_text_file(dir.file("ops.toml"), R"(layers = 1
[compute]
attention_forward = 2
mlp_forward = 3
mlp_backward = 4
mlp_weight = 3
attention_backward = 5
attention_weight = 2
[communication]
dispatch_forward = 1
combine_forward = 2
dispatch_backward = 1
combine_backward = 2
)");
  const std::vector<std::string> base{"sim", "schedule",        "--kind", "dualpipe",    "--pp",
                                      "4",   "--micro-batches", "8",      "--operators", dir.file("ops.toml")};
  std::vector<std::string> args = base;
  args.push_back("--json");
  const CliResult result = run_cli(args);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json out = json::parse(result.out);
  EXPECT_EQ(out.at("config").at("f"), 8.0);
  EXPECT_EQ(out.at("config").at("b"), 15.0);
  EXPECT_EQ(out.at("config").at("fb"), 19.0);
  EXPECT_EQ(out.at("chunk").at("exposed"), 0.0);
  EXPECT_EQ(out.at("chunk").at("operators").size(), 10u);
  args = base;
  args.insert(args.end(), {"--f", "1"});
  expect_one_line_error(run_cli(args), 2, {"--operators gives the durations"});
}

TEST(SimSchedule, DrawsTheTimeline) {
  const TempDir dir;
  const CliResult result = run_cli(arguments("dualpipe", {"--json", "--svg", dir.file("a.svg")}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string svg = read_file(dir.file("a.svg"));
  EXPECT_EQ(svg.find("<svg xmlns="), 0u);
  EXPECT_NE(svg.find("</svg>"), std::string::npos);
  for (const char* part : {"rank 3", "<title>F0.3&amp;B1.1: ", "dualpipe: 4 ranks, 8 micro-batches"})
    EXPECT_NE(svg.find(part), std::string::npos) << part;
}

TEST(SimSchedule, RefusesContradictingOptions) {
  const TempDir dir;
  io::write_text_file(dir.file("own.toml"), "micro_batches = 1\norder = [\"F0 BW0\"]\n");
  const auto refused = [](const std::vector<std::string>& more, const std::string& part) {
    std::vector<std::string> all{"sim", "schedule"};
    all.insert(all.end(), more.begin(), more.end());
    expect_one_line_error(run_cli(all), 2, {part});
  };
  refused({"--f", "1", "--b", "2", "--w", "1"}, "expected one of --kind and --file");
  refused({"--kind", "1f1b", "--file", dir.file("own.toml"), "--f", "1", "--b", "2", "--w", "1"}, "both there");
  refused({"--file", dir.file("own.toml"), "--pp", "1", "--f", "1", "--b", "2", "--w", "1"}, "--file holds the ranks");
  refused({"--file", dir.file("own.toml"), "--f", "1", "--b", "2"}, "durations are missing");
  refused({"--file", dir.file("own.toml"), "--chunks", "2", "--f", "1", "--b", "2", "--w", "1"}, "no --chunks");
  refused({"--file", dir.file("own.toml"), "--f", "1", "--b", "2", "--w", "1", "--lists", "--json"},
          "--lists and --json");
  refused({"--file", dir.file("none.toml"), "--f", "1", "--b", "2", "--w", "1"}, "none.toml");
  refused({"--kind", "1f1b", "--pp", "2", "--micro-batches", "2", "--operators", dir.file("own.toml")},
          "no key 'compute'");
  refused({"--file", dir.file("own.toml"), "--f", "1", "--b", "2", "--w", "1", "--transfer", "-1"}, "transfer is -1");
}

TEST(SimSchedule, RefusesWhatBreaksARule) {
  expect_one_line_error(run_cli(arguments("dualpipe", {"--pp", "3"})), 2, {"even number of pipeline ranks, found 3"});
  expect_one_line_error(run_cli(arguments("dualpip")), 2, {"unknown schedule 'dualpip'", "did you mean 'dualpipe'?"});
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

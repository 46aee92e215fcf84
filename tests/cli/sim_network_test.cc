// lastbit sim network, as a user runs it.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/cli.h"
#include "support/shared.h"

namespace lastbit::testing {
namespace {

using nlohmann::json;

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

constexpr const char* kTwoFlows =
    R"({"name": "two", "links": [{"id": 0, "name": "a", "capacity_Bps": 10, "latency_s": 1}],
        "flows": [{"id": 0, "size_B": 10, "route": [0]}, {"id": 1, "size_B": 20, "start_s": 0.5, "route": [0]}],
        "expected": {"completion_s": [2.5, 4.0], "makespan_s": 4.0}})";

TEST(SimNetwork, WritesCompletionsMakespanAndUtilisation) {
  const TempDir dir;
  write(dir.file("two.json"), kTwoFlows);
  for (const std::string fold : {"--bins=2", "--no-fold"}) {
    const CliResult result = run_cli({"sim", "network", dir.file("two.json"), "--out", dir.file("r.json"), fold});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const json out = json::parse(read_file(dir.file("r.json")));
    EXPECT_EQ(out.at("completion_s"), json::parse("[2.5, 4.0]"));
    EXPECT_EQ(out.at("makespan_s"), 4.0);
    EXPECT_EQ(out.at("link_utilisation"), json::parse("[0.75]"));
    EXPECT_EQ(out.at("link_bytes"), json::parse("[30.0]"));
    if (fold == "--bins=2") {
      EXPECT_EQ(out.at("link_utilisation_over_time"), json::parse("[[0.5, 1.0]]"));
    }
  }
}

TEST(SimNetwork, ChecksAgainstWhatTheFileExpects) {
  const TempDir dir;
  write(dir.file("two.json"), kTwoFlows);
  EXPECT_EQ(run_cli({"sim", "network", dir.file("two.json"), "--check"}).exit_code, 0);
  json wrong = json::parse(kTwoFlows);
  wrong["expected"]["completion_s"][0] = 2.6;
  write(dir.file("wrong.json"), wrong.dump());
  const CliResult result = run_cli({"sim", "network", dir.file("wrong.json"), "--check"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.out.find("FAILED"), std::string::npos);
}

TEST(SimNetwork, RefusesInOneLineAndWritesNothing) {
  const TempDir dir;
  write(dir.file("cut.json"), R"({"links": [)");
  write(dir.file("zero.json"), R"({"links": [{"capacity_Bps": 0}], "flows": []})");
  write(dir.file("two.json"), kTwoFlows);
  expect_one_line_error(run_cli({"sim", "network", dir.file("none.json")}), 2, {"none.json"});
  expect_one_line_error(run_cli({"sim", "network", dir.file("cut.json")}), 2, {"cut.json:1:"});
  expect_one_line_error(run_cli({"sim", "network", dir.file("zero.json"), "--out", dir.file("r.json")}), 2,
                        {"links[0]", "capacity_Bps"});
  EXPECT_EQ(read_file(dir.file("r.json")), "");
  expect_one_line_error(run_cli({"sim", "network", dir.file("two.json"), "--sharing", "fair"}), 2, {"sharing", "fair"});
  expect_one_line_error(run_cli({"sim", "network", dir.file("two.json"), "--bins", "0"}), 2, {"--bins"});
  expect_one_line_error(run_cli({"sim", "network", dir.file("two.json"), "--out", dir.file("no/r.json")}), 2, {"no"});
}

}  // namespace
}  // namespace lastbit::testing

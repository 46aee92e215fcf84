// lastbit sim eplb and lastbit sim routing, as a user runs them.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "io/routing_trace.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit::testing {
namespace {

using nlohmann::json;

json parsed_file(const std::string& path) {
  std::ifstream stream(path);
  return json::parse(stream);
}

TEST(SimEplb, GivesThePublishedPlacementsFromFilesOfTheirArguments) {
  LASTBIT_NEEDS_SHARED();
  const TempDir dir;
  const json file = parsed_file(shared_path("groundtruth/eplb.json"));
  for (const json& golden : file.at("cases")) {
    json arguments = golden;
    arguments.erase("physical_to_logical");
    arguments.erase("logical_count");
    arguments.erase("max_gpu_load_per_layer");
    io::write_text_file(dir.file("case.json"), arguments.dump());
    const CliResult result = run_cli({"sim", "eplb", dir.file("case.json"), "--out", dir.file("out.json"), "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const json out = parsed_file(dir.file("out.json"));
    EXPECT_EQ(out, json::parse(result.out));
    for (const char* key : {"physical_to_logical", "logical_count", "max_gpu_load_per_layer"})
      EXPECT_EQ(out.at(key), golden.at(key)) << golden.at("name") << " " << key;
    const json& slots = out.at("logical_to_physical");
    for (std::size_t layer = 0; layer < slots.size(); ++layer)
      for (std::size_t expert = 0; expert < slots[layer].size(); ++expert)
        for (const json& slot : slots[layer][expert])
          EXPECT_EQ(out.at("physical_to_logical")[layer][slot.get<std::size_t>()], expert);
    EXPECT_EQ(run_cli({"sim", "eplb", dir.file("out.json"), "--json"}).out, result.out);
  }
}

TEST(SimEplb, OptionsReplaceTheFilesNumbers) {
  const TempDir dir;
  io::write_text_file(dir.file("loads.json"), "[4, 1, 1, 2]");
  const CliResult result = run_cli({"sim", "eplb", dir.file("loads.json"), "--replicas", "6", "--gpus", "2", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out).at("num_groups"), 1);
  const CliResult text = run_cli({"sim", "eplb", dir.file("loads.json"), "--replicas", "6", "--gpus", "2"});
  EXPECT_NE(text.out.find("4 experts in 6 replicas on 2 GPUs of 1 nodes, hierarchical"), std::string::npos) << text.out;
}

TEST(SimEplb, RefusesWhatBreaksARule) {
  const TempDir dir;
  io::write_text_file(dir.file("loads.json"), "[4, 1, 1, 2]");
  const auto refused = [&dir](std::vector<std::string> more, const std::string& part) {
    std::vector<std::string> all{"sim", "eplb", dir.file("loads.json"), "--out", dir.file("out.json")};
    all.insert(all.end(), more.begin(), more.end());
    expect_one_line_error(run_cli(all), 2, {part});
    EXPECT_EQ(read_file(dir.file("out.json")), "");
  };
  refused({"--gpus", "2"}, "--replicas is missing: the file has no 'num_replicas'");
  refused({"--gpus", "4", "--replicas", "6"}, "6 replicas do not divide evenly among 4 GPUs");
  refused({"--gpus", "3", "--replicas", "3"}, "3 replicas, expected 4");
  refused({"--gpus", "2", "--replicas", "4", "--groups", "3"}, "4 experts do not divide evenly among 3 groups");
  refused({"--gpus", "2", "--replicas", "4", "--policy", "best"}, "--policy");
  expect_one_line_error(run_cli({"sim", "eplb", dir.file("none.json"), "--gpus", "2", "--replicas", "4"}), 2,
                        {"none.json"});
}

std::vector<std::string> routing(std::vector<std::string> more) {
  std::vector<std::string> all{"sim", "routing", "--gpus", "8", "--nodes", "2"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST(SimRouting, CountsEveryTokenAndMeetsTheClosedForm) {
  const CliResult result = run_cli(routing({"--model", "deepseek-v3", "--tokens", "2000", "--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json out = json::parse(result.out);
  EXPECT_EQ(out.at("tokens"), 16000);
  EXPECT_EQ(out.at("config").at("kept_groups"), 4);
  EXPECT_NEAR(out.at("reach").at("other_nodes").get<double>(), out.at("uniform_reach").at("other_nodes").get<double>(),
              0.02);
  std::int64_t rows = 0;
  for (const json& gpu : out.at("rows_per_gpu")) rows += gpu.get<std::int64_t>();
  EXPECT_EQ(rows, 16000 * 8);
  EXPECT_EQ(out.at("tokens_gpu_to_gpu").size(), 8u);
  EXPECT_EQ(out.at("tokens_node_to_node")[1].size(), 2u);
  EXPECT_EQ(run_cli(routing({"--model", "deepseek-v3", "--tokens", "2000", "--json"})).out, result.out);
}

TEST(SimRouting, ReplaysATraceAndRemapsItsExperts) {
  const TempDir dir;
  io::RoutingTrace trace;
  trace.source = "test";
  trace.experts = 8;
  trace.top_k = 2;
  trace.layers = {1};
  std::vector<std::uint16_t> choices;
  for (std::uint16_t t = 0; t < 16; ++t) choices.insert(choices.end(), {0, static_cast<std::uint16_t>(1 + t % 7)});
  io::append_step(trace, 0, choices, true);
  io::save_routing_trace(dir.file("t.h5"), trace);
  const auto run = [&](const std::string& experts, const std::string& top_k) {
    return run_cli(
        routing({"--experts", experts, "--top-k", top_k, "--hidden", "64", "--load", dir.file("t.h5"), "--json"}));
  };
  const CliResult same = run("8", "2");
  ASSERT_EQ(same.exit_code, 0) << same.err;
  EXPECT_EQ(json::parse(same.out).at("tokens"), 16);
  EXPECT_EQ(json::parse(same.out).at("rows_per_replica")[0], 16);
  const CliResult finer = run("32", "4");
  ASSERT_EQ(finer.exit_code, 0) << finer.err;
  // Expert 0 became 0, 8, 16 and 24: one on every other GPU of four.
  const json rows = json::parse(finer.out).at("rows_per_replica");
  EXPECT_EQ(rows[0].get<int>() + rows[8].get<int>() + rows[16].get<int>() + rows[24].get<int>(), 32);
  EXPECT_GT(rows[8], 0);
  expect_one_line_error(run("12", "2"), 2, {"recorded with 8 experts, top 2, cannot be replayed with 12"});
  expect_one_line_error(run_cli(routing({"--experts", "8", "--top-k", "2", "--hidden", "64", "--load", dir.file("t.h5"),
                                         "--layer", "2"})),
                        2, {"no layer 2"});
}

TEST(SimRouting, SavesWhatItDrewAndReplaysIt) {
  const TempDir dir;
  const auto run = [&dir](const std::vector<std::string>& more) {
    std::vector<std::string> all{"--experts",     "16", "--top-k",  "3", "--groups", "4",
                                 "--kept-groups", "2",  "--hidden", "8"};
    all.insert(all.end(), more.begin(), more.end());
    all.push_back("--json");
    const CliResult result = run_cli(routing(all));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out);
  };
  const json drawn = run({"--load", "zipf:0.5", "--tokens", "100", "--save-trace", dir.file("t.h5")});
  const json replayed = run({"--load", dir.file("t.h5")});
  EXPECT_EQ(replayed.at("tokens_gpu_to_gpu"), drawn.at("tokens_gpu_to_gpu"));
  EXPECT_EQ(replayed.at("rows_per_replica"), drawn.at("rows_per_replica"));
}

TEST(SimRouting, PlacesByEplbAndSaysWhatItChanges) {
  const std::vector<std::string> shape{"--experts", "16",     "--top-k", "2",        "--hidden",
                                       "64",        "--load", "zipf:1",  "--tokens", "200"};
  const auto busiest = [&shape](const std::vector<std::string>& more) {
    std::vector<std::string> all = shape;
    all.insert(all.end(), more.begin(), more.end());
    all.push_back("--json");
    const CliResult result = run_cli(routing(all));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::int64_t most = 0;
    const json out = json::parse(result.out);
    for (const json& rows : out.at("rows_per_gpu")) most = std::max(most, rows.get<std::int64_t>());
    return most;
  };
  EXPECT_LT(busiest({"--placement", "eplb", "--replicas", "32"}), busiest({}));
}

TEST(SimRouting, RefusesWhatBreaksARule) {
  const auto refused = [](const std::vector<std::string>& more, const std::string& part) {
    expect_one_line_error(run_cli(routing(more)), 2, {part});
  };
  refused({"--top-k", "2", "--hidden", "8"}, "--experts is missing");
  refused({"--experts", "12", "--top-k", "2", "--hidden", "8"}, "12 experts do not lie evenly on 8 GPUs");
  refused({"--experts", "16", "--top-k", "20", "--hidden", "8"}, "top_k: found 20, expected 1 to 16");
  refused({"--experts", "16", "--top-k", "2", "--hidden", "8", "--groups", "3"},
          "16 experts do not divide into 3 groups");
  refused({"--experts", "16", "--top-k", "2", "--hidden", "8", "--load", "zipf:x"}, "found 'zipf:x', expected uniform");
  refused({"--experts", "16", "--top-k", "2", "--hidden", "8", "--load", "zipf:-1"}, "exponent is -1");
  refused({"--experts", "16", "--top-k", "2", "--hidden", "8", "--layer", "1"}, "--layer");
  refused({"--experts", "16", "--top-k", "2", "--hidden", "8", "--replicas", "24"}, "--replicas");
  refused({"--experts", "16", "--top-k", "2", "--hidden", "8", "--tokens", "0"}, "--tokens: found 0");
  refused({"--model", "llama-3.1-405b"}, "no routed experts");
}

}  // namespace
}  // namespace lastbit::testing

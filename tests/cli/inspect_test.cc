#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "support/cli.h"

namespace lastbit {
namespace {

using testing::CliResult;
using testing::expect_one_line_error;
using testing::run_cli;

TEST(Inspect, PrintsJsonForMachines) {
  const CliResult result = run_cli({"inspect", "deepseek-v3", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json summary = nlohmann::json::parse(result.out);
  EXPECT_NEAR(summary["parameters"]["total"].get<double>(), 671.0e9, 0.05e9);
  EXPECT_NEAR(summary["parameters"]["active"].get<double>(), 37.55e9, 0.005e9);
  EXPECT_NEAR(summary["parameters"]["active_without_embedding"].get<double>(), 36.63e9, 0.005e9);
  EXPECT_NEAR(summary["flops_per_token"]["training_causal"].get<double>(), 250e9, 0.5e9);
  EXPECT_EQ(summary["cache_bytes_per_token_bf16"], 70272);
  std::int64_t total = 0;
  for (const auto& [name, component] : summary["components"].items())
    total += component["parameters"].get<std::int64_t>();
  EXPECT_EQ(total, summary["parameters"]["total"].get<std::int64_t>());
}

TEST(Inspect, PrintsATableForPeople) {
  const CliResult result = run_cli({"inspect", "deepseekmoe-16b"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"16.4B", "2.8B", "2.6B", "74.42", "75.90", "routed_experts"})
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " in\n" << result.out;
}

TEST(Inspect, AttentionGrowsWithTheSequence) {
  const auto flops = [](const char* tokens) {
    const CliResult result = run_cli({"inspect", "deepseek-v2", "--json", "--sequence", tokens});
    return nlohmann::json::parse(result.out)["flops_per_token"]["training_causal"].get<double>();
  };
  EXPECT_GT(flops("8192"), 1.1 * flops("4096"));
}

TEST(Inspect, RefusesUnknownModels) {
  expect_one_line_error(run_cli({"inspect", "deepseek-v33"}), 2, {"deepseek-v33", "did you mean 'deepseek-v3'"});
  EXPECT_EQ(run_cli({"inspect", "tiny", "--sequence", "0"}).exit_code, 2);
}

TEST(Presets, AreListedOneALine) {
  const CliResult result = run_cli({"presets"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"deepseek-v3", "671.0B", "base-bench", "cluster  h800-2048", "job      v3-pretrain"})
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " in\n" << result.out;
}

}  // namespace
}  // namespace lastbit

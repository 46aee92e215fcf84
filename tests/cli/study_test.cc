#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/cli.h"

namespace lastbit {
namespace {

using testing::expect_one_line_error;
using testing::run_cli;

TEST(Study, AccumulationIsATableOrOneObject) {
  const std::vector<std::string> small{"study", "accumulation",    "--m",  "8", "--n", "8", "--k", "256", "--seeds",
                                       "2",     "--promote-every", "0,128"};
  const testing::CliResult text = run_cli(small);
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("every 128"), std::string::npos);
  std::vector<std::string> json = small;
  json.emplace_back("--json");
  const nlohmann::json report = nlohmann::json::parse(run_cli(json).out);
  EXPECT_EQ(report.at("results").size(), 2u * 2u * 2u);
  EXPECT_GT(report.at("results").at(0).at("max_over_rms"), 0);
}

TEST(Study, WrongInputIsOneLine) {
  expect_one_line_error(run_cli({"study"}), 2, {"subcommand"});
  expect_one_line_error(run_cli({"study", "accumulation", "--unit", "hoper_wgmma"}), 2, {"hopper_wgmma"});
  expect_one_line_error(run_cli({"study", "accumulation", "--k", "0"}), 2, {"--k"});
  expect_one_line_error(
      run_cli({"study", "accumulation", "--k", "64", "--m", "4", "--n", "4", "--promote-every", "33"}), 2,
      {"33", "multiple", "32"});
}

}  // namespace
}  // namespace lastbit

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using testing::expect_one_line_error;
using testing::run_cli;

std::string text_of_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Doctor, WantsAGpu) {
  const testing::TempDir dir;
  expect_one_line_error(run_cli({"doctor", "--gpu", "--report", dir.file("report")}), 4, {"doctor --gpu"});
  EXPECT_EQ(text_of_file(dir.file("report.json")), "");
  expect_one_line_error(run_cli({"doctor", "--gpu", "--on", "tpu"}), 2, {"--on", "executor"});
  expect_one_line_error(run_cli({"doctor", "--report", "x"}), 2, {"--gpu"});
}

#if defined(LASTBIT_EXECUTOR)
TEST(Doctor, ExaminesTheExecutor) {
  const testing::TempDir dir;
  const auto run = run_cli({"doctor", "--gpu", "--on", "executor", "--contracts", "rope", "--report", dir.file("r")});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NE(run.out.find("not a GPU"), std::string::npos);
  EXPECT_NE(run.out.find("ACCEPTED: 2 accepted, 0 rejected, 0 skipped"), std::string::npos) << run.out;
  const auto report = nlohmann::json::parse(text_of_file(dir.file("r.json")));
  EXPECT_FALSE(report.at("device").at("gpu").get<bool>());
  EXPECT_EQ(report.at("kernels").size(), 2U);
  EXPECT_TRUE(report.at("kernels").at(0).at("timing").is_null());
  EXPECT_NE(text_of_file(dir.file("r.md")).find("**This is not a GPU"), std::string::npos);
}

TEST(Doctor, KnowsItsContracts) {
  expect_one_line_error(run_cli({"doctor", "--gpu", "--on", "executor", "--contracts", "roqe"}), 2,
                        {"--contracts", "'roqe'", "rope"});
}
#endif

}  // namespace
}  // namespace lastbit

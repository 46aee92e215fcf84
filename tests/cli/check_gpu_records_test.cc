#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using testing::CliResult;
using testing::run_cli;

TEST(CheckGpuRecords, PrintsATableOfMatches) {
  const CliResult result = run_cli({"check", "gpu-records"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"hopper_wgmma", "b200_mma_sync", "V100", "C taken as 0", "hopper_mma_sync", "e4m3 x e5m2",
                           "1576 of 1576 records match"})
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " in\n" << result.out;
}

TEST(CheckGpuRecords, JsonHasEverySet) {
  const CliResult result = run_cli({"check", "gpu-records", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json report = nlohmann::json::parse(result.out);
  EXPECT_TRUE(report.at("match").get<bool>());
  ASSERT_EQ(report.at("sets").size(), 37u);
  for (const nlohmann::json& set : report.at("sets")) EXPECT_EQ(set.at("matched"), set.at("records"));
}

TEST(CheckGpuRecords, AWrongBitFails) {
  std::ifstream table(testing::source_path("data/measurements/gpu_records.json"));
  nlohmann::json records = nlohmann::json::parse(table);
  nlohmann::json& record = records.at("sets").at(2).at("records").at(7);
  std::string text = record;
  text.back() = text.back() == '0' ? '1' : '0';
  record = text;
  const testing::TempDir folder;
  std::ofstream(folder.file("records.json")) << records;
  const CliResult result = run_cli({"check", "gpu-records", "--file", folder.file("records.json")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.out.find("record 7: published"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("1215 of 1216 records"), std::string::npos) << result.out;
}

TEST(CheckGpuRecords, AMissingTableIsBadInput) {
  testing::expect_one_line_error(run_cli({"check", "gpu-records", "--file", "absent.json"}), 2, {"absent.json"});
}

}  // namespace
}  // namespace lastbit

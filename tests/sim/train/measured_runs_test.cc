#include "sim/train/measured_runs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "io/json.h"
#include "support/shared.h"

namespace lastbit::sim::train {
namespace {

TEST(MeasuredRuns, TheMedianErrorOfOtherMachinesIsBelowFifteenPercent) {
  const Validation validation = validate_runs(published_runs());
  EXPECT_GE(validation.all.runs, 40);
  EXPECT_LT(validation.all.median, 0.15);
  EXPECT_GT(validation.unfitted.runs, validation.all.runs);
  int calibrating = 0;
  for (const Comparison& row : validation.rows) {
    EXPECT_TRUE(std::isfinite(row.predicted)) << row.run;
    EXPECT_GT(row.predicted, 0) << row.run;
    calibrating += row.headline && !row.calibrates.empty() ? 1 : 0;
    // Memory is counted from shapes: nothing is calibrated.
    if (row.key == "memory.peak_bytes") {
      EXPECT_LT(std::abs(row.error), 0.12) << row.run;
    }
  }
  EXPECT_EQ(calibrating, 2);
}

TEST(MeasuredRuns, FiguresAreThoseOfTheSources) {
  const std::string path = testing::shared_path("groundtruth/peer_simumax_b200.json");
  if (!testing::shared_exists())
    GTEST_SKIP() << "../shared is absent: published steps are not compared with their source";
  std::map<std::string, double> seconds;
  for (const MeasuredRun& run : published_runs()) {
    for (const auto& figure : run.figures) {
      if (figure.key == "step_s") seconds[run.name] = figure.value;
    }
  }
  const nlohmann::json source = io::load_json(path);
  for (const nlohmann::json& row : source.at("rows")) {
    const std::string name = row.at("case").get<std::string>();
    ASSERT_TRUE(seconds.contains(name)) << name;
    EXPECT_NEAR(seconds[name], row.at("real_ms").get<double>() / 1e3, 1e-9) << name;
  }
}

TEST(MeasuredRuns, ARunWithoutAFigureIsRefused) {
  const testing::TempDir folder;
  const std::string path = folder.file("mine.toml");
  std::ofstream(path) << "schema = 2\nsource = \"s\"\nstatus = \"t\"\n[[case]]\nname = \"a\"\nmodel = \"tiny\"\n"
                         "cluster = \"h100\"\njob = \"megatron\"\n";
  try {
    (void)load_runs(path);
    FAIL();
  } catch (const core::Error& error) {
    EXPECT_NE(std::string(error.what()).find("step_s"), std::string::npos);
  }
}

}  // namespace
}  // namespace lastbit::sim::train

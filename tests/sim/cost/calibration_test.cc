#include "sim/cost/calibration.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "io/json.h"
#include "support/shared.h"

namespace lastbit::sim::cost {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The step's published rows are targets: no figure of theirs, and no mention of where they stand, is calibration.
TEST(Calibration, KnowsNothingOfThePublishedStep) {
  int files = 0;
  const auto folder = std::filesystem::path(testing::source_path("data/calibration"));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const std::string text = text_of(entry.path());
    for (const char* target : {"19.926", "13.95", "272.8", "43.73", "38.94", "0.4373", "0.3894", "2505.09343",
                               "2412.19437", "1543", "180K", "2664", "2788"}) {
      EXPECT_EQ(text.find(target), std::string::npos) << entry.path() << " mentions " << target;
    }
  }
  EXPECT_GE(files, 3);
}

TEST(Calibration, EveryFileNamesItsSource) {
  const Calibration calibration = load_calibration("h800");
  EXPECT_EQ(calibration.sources.size(), 3u);
  for (const std::string& source : calibration.sources) EXPECT_FALSE(source.empty());
  EXPECT_THROW((void)load_calibration("no-such-gpu"), core::Error);
  EXPECT_TRUE(load_calibration("").training_gemms.empty());
}

// The means in our table are those of the published trace's kernels.
TEST(Calibration, MeansAreThoseOfTheTrace) {
  LASTBIT_NEEDS_SHARED();
  const nlohmann::json trace =
      io::load_json(testing::shared_path("groundtruth/traces/h800_train_fb_chunk_ep64_4layers.json"));
  const Calibration calibration = load_calibration("h800");
  const auto group_mean_s = [&trace](const std::string& prefix) {
    for (const nlohmann::json& group : trace["groups"]) {
      if (group["group"].get<std::string>().rfind(prefix, 0) == 0) {
        return group["total_us"].get<double>() / group["count"].get<double>() * 1e-6;
      }
    }
    return -1.0;
  };
  const auto transfer = [&calibration](const std::string& name) {
    for (const TransferTime& row : calibration.transfers) {
      if (row.name == name) return row.seconds;
    }
    return -1.0;
  };
  EXPECT_NEAR(calibration.training_attention[0].seconds[0], group_mean_s("attn_fwd"), 1e-9);
  EXPECT_NEAR(calibration.training_attention[1].seconds[0], group_mean_s("attn_bwd"), 1e-7);
  EXPECT_NEAR(transfer("dispatch_forward"), group_mean_s("dispatch_fwd"), 1e-7);
  EXPECT_NEAR(transfer("dispatch_backward"), group_mean_s("dispatch_bwd"), 1e-7);
  EXPECT_NEAR((transfer("combine_forward") + transfer("combine_backward")) / 2, group_mean_s("combine"), 1e-7);
  double grouped = 0;
  double dense = 0;
  for (const GemmFamily& row : calibration.training_gemms) {
    if (row.kind == workload::OpKind::kGroupedGemm) grouped += row.seconds[0] / 4;
    // The two up-projections run twice a layer: forward, and again in backward.
    const bool twice = row.n == 24576 || row.n == 32768;
    if (row.kind == workload::OpKind::kGemm) dense += row.seconds[0] * (twice ? 2 : 1) / 16;
  }
  EXPECT_NEAR(grouped, group_mean_s("moe_grouped_gemm_fwd_dgrad"), 1e-6);
  EXPECT_NEAR(dense, group_mean_s("dense_gemm_fp8"), 1e-6);
}

}  // namespace
}  // namespace lastbit::sim::cost

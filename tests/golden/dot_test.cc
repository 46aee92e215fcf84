// Every instruction of dot.npz through `lastbit mma`, bit for bit.
#include <gtest/gtest.h>

#include "golden/vectors.h"
#include "io/arrays.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit::golden {
namespace {

TEST(GoldenDot, EveryInstruction) {
  LASTBIT_NEEDS_SHARED();
  const nlohmann::json entries = index_of("dot.npz").at("entries");
  EXPECT_EQ(entries.size(), 44u);
  for (const nlohmann::json& entry : entries) {
    const std::string key = entry.at("key");
    const auto path = [&key](const char* part) { return array_path("dot.npz", key + "__" + part); };
    const tensor::Tensor d =
        run_to_array({"mma", "--unit", entry.at("unit"), "--a-type", entry.at("a_type"), "--b-type", entry.at("b_type"),
                      "--d-type", entry.at("d_type"), "--a", path("A"), "--b", path("B"), "--c", path("C")});
    const bool amd = entry.at("unit") == "amd_cdna3_mfma";
    expect_same_bits(d, io::load_array(path("D")), key, amd);
    EXPECT_EQ(d.shape(), (tensor::Shape{entry.at("records").get<std::int64_t>()})) << key;
  }
}

TEST(GoldenDot, ThreadsDoNotChangeAByte) {
  LASTBIT_NEEDS_SHARED();
  const testing::TempDir folder;
  const std::string key = "hopper_wgmma__e4m3_e5m2_f32";
  std::vector<std::string> files;
  for (const std::string threads : {"1", "2", "3"}) {
    files.push_back(folder.file("d" + threads + ".npy"));
    const testing::CliResult result = testing::run_cli(
        {"--threads", threads, "mma", "--unit", "hopper_wgmma", "--a-type", "e4m3", "--b-type", "e5m2", "--a",
         array_path("dot.npz", key + "__A"), "--b", array_path("dot.npz", key + "__B"), "--out", files.back()});
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
  EXPECT_FALSE(testing::read_file(files[0]).empty());
  for (const std::string& file : files) EXPECT_EQ(testing::read_file(file), testing::read_file(files[0]));
}

}  // namespace
}  // namespace lastbit::golden

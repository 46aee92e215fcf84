// gemm.npz through `lastbit gemm`: chained, promoted in three orders, and the partial sums of every 128 elements.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "golden/vectors.h"
#include "io/arrays.h"
#include "io/npy.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit::golden {
namespace {

std::vector<std::string> command(const nlohmann::json& entry, const std::string& a, const std::string& b) {
  const std::string type = entry.at("a_type");
  const std::string numerics = type == "bf16" ? "bf16-h800" : (type == "f16" ? "f16-h800" : "fp8-h800");
  return {"gemm", "--a", a, "--b", b, "--numerics", numerics, "--a-type", type, "--b-type", entry.at("b_type")};
}

std::vector<std::string> with(std::vector<std::string> args, const std::vector<std::string>& more) {
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

class GoldenGemm : public ::testing::Test {
 protected:
  void SetUp() override {
    LASTBIT_NEEDS_SHARED();
    entries_ = index_of("gemm.npz").at("entries");
    ASSERT_EQ(entries_.size(), 6u);
  }
  static std::string path(const nlohmann::json& entry, const std::string& part) {
    return array_path("gemm.npz", entry.at("name").get<std::string>() + "__" + part);
  }
  static bool is_fp8(const nlohmann::json& entry) { return entry.at("kind") == "fp8_gemm_hopper"; }

  nlohmann::json entries_;
};

TEST_F(GoldenGemm, Chained) {
  for (const nlohmann::json& entry : entries_) {
    const tensor::Tensor d = run_to_array(command(entry, path(entry, "A"), path(entry, "B")));
    EXPECT_EQ(d.dtype(), tensor::DType::kF32);
    EXPECT_EQ(d.shape(), (tensor::Shape{entry.at("M").get<std::int64_t>(), entry.at("N").get<std::int64_t>()}));
    expect_same_bits(d, io::load_array(path(entry, "D_chain")), path(entry, "D_chain"));
  }
}

TEST_F(GoldenGemm, PromotedInThreeOrders) {
  const std::array<std::array<std::string, 2>, 3> orders{
      {{"deepgemm", "D_promote_fma"}, {"muladd", "D_promote_muladd"}, {"cublas", "D_promote_cublas"}}};
  for (const nlohmann::json& entry : entries_) {
    if (!is_fp8(entry)) continue;
    for (const auto& [order, key] : orders) {
      const std::vector<std::string> more{"--promotion",          order,       "--scale-a",
                                          path(entry, "scale_A"), "--scale-b", path(entry, "scale_B")};
      const tensor::Tensor d = run_to_array(with(command(entry, path(entry, "A"), path(entry, "B")), more));
      expect_same_bits(d, io::load_array(path(entry, key)), path(entry, key));
    }
  }
}

// Column block j of every output: the same GEMM of 128 columns of A and B.
TEST_F(GoldenGemm, PartialsOfEveryBlock) {
  const testing::TempDir folder;
  for (const nlohmann::json& entry : entries_) {
    if (!is_fp8(entry)) continue;
    const tensor::Tensor a = io::load_array(path(entry, "A"));
    const tensor::Tensor b = io::load_array(path(entry, "B"));
    const tensor::Tensor partial = io::load_array(path(entry, "partial128"));
    for (std::int64_t block = 0; block < partial.dim(2); ++block) {
      io::save_npy(folder.file("a.npy"), a.slice(1, 128 * block, 128 * (block + 1)).contiguous());
      io::save_npy(folder.file("b.npy"), b.slice(1, 128 * block, 128 * (block + 1)).contiguous());
      const tensor::Tensor d = run_to_array(command(entry, folder.file("a.npy"), folder.file("b.npy")));
      const tensor::Tensor golden = partial.slice(2, block, block + 1).contiguous();
      expect_same_bits(d, golden, path(entry, "partial128") + " block " + std::to_string(block));
    }
  }
}

TEST_F(GoldenGemm, ThreadsDoNotChangeAByte) {
  const testing::TempDir folder;
  const nlohmann::json& entry = entries_.at(0);
  std::vector<std::string> files;
  for (const std::string threads : {"1", "2", "3"}) {
    files.push_back(folder.file("d" + threads + ".npy"));
    std::vector<std::string> args{"--threads", threads};
    args = with(args, command(entry, path(entry, "A"), path(entry, "B")));
    args =
        with(args, {"--scale-a", path(entry, "scale_A"), "--scale-b", path(entry, "scale_B"), "--out", files.back()});
    EXPECT_EQ(testing::run_cli(args).exit_code, 0);
  }
  for (const std::string& file : files) EXPECT_EQ(testing::read_file(file), testing::read_file(files[0]));
}

}  // namespace
}  // namespace lastbit::golden

// The golden checkpoints through the program: hidden states, routing and logits against the FP64 run of the same model.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "io/npy.h"
#include "io/safetensors.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using tensor::DType;
using tensor::Tensor;

// |a - b| / |b| over all elements of b; a may be longer (golden tables are cut at 64 positions).
template <typename T>
double relative_error(const Tensor& a, const Tensor& b) {
  const auto x = a.values<float>();
  const auto y = b.values<T>();
  EXPECT_GE(x.size(), y.size());
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    difference += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
    norm += std::pow(static_cast<double>(y[i]), 2);
  }
  return std::sqrt(difference / norm);
}

double relative_error(const Tensor& a, const Tensor& b) {
  return b.dtype() == DType::kF64 ? relative_error<double>(a, b) : relative_error<float>(a, b);
}

std::string file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Names that our taps and the golden file share: not decoding, packing, MTP, training or FP64 twins.
std::vector<std::string> shared_taps(const io::SafetensorsFile& golden) {
  std::vector<std::string> taps;
  for (const std::string& name : golden.names())
    for (const char* prefix : {"logits", "loss", "hidden.", "attn_out.", "mlp_out.", "router.", "cache.", "rope."})
      if (name.starts_with(prefix) && name != "loss_ce_only" && !name.starts_with("logits_")) taps.push_back(name);
  return taps;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

// Runs the golden case and returns its outputs; the output file must not depend on the number of threads.
tensor::NamedTensors run_case(const std::string& name, const std::string& taps, const testing::TempDir& dir) {
  const std::string folder = testing::shared_path("golden/model/" + name);
  const std::string ids = dir.file("ids.npy");
  io::save_npy(ids, io::SafetensorsFile::open(folder + "/golden.safetensors").tensor("input_ids"));
  for (const char* threads : {"1", "3"}) {
    const testing::CliResult result =
        testing::run_cli({"--threads", threads, "run", folder, "--tokens", ids, "--tap", taps, "--out",
                          dir.file(std::string(threads) + ".safetensors")});
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
  EXPECT_EQ(file_bytes(dir.file("1.safetensors")), file_bytes(dir.file("3.safetensors"))) << name;
  return io::SafetensorsFile::open(dir.file("1.safetensors")).tensors();
}

class ModelGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(ModelGolden, EveryTapAgreesWithTheReference) {
  LASTBIT_NEEDS_SHARED();
  constexpr double kTolerance = 2e-5;
  const testing::TempDir dir;
  const auto golden = io::SafetensorsFile::open(
      testing::shared_path(std::string("golden/model/") + GetParam() + "/golden.safetensors"));
  const std::vector<std::string> taps = shared_taps(golden);
  ASSERT_GE(taps.size(), 8U);
  const tensor::NamedTensors outputs = run_case(GetParam(), joined(taps), dir);
  ASSERT_EQ(outputs.size(), taps.size());
  for (const std::string& tap : taps) {
    const Tensor& ours = outputs.at(tap);
    const Tensor reference = golden.tensor(tap);
    const bool table = tap == "rope.cos" || tap == "rope.sin";
    if (!table) {
      EXPECT_EQ(ours.shape(), reference.shape()) << tap;
    }
    if (reference.dtype() == DType::kI64) {
      const auto chosen = ours.values<std::int64_t>();
      const auto expected = reference.values<std::int64_t>();
      EXPECT_TRUE(std::equal(chosen.begin(), chosen.end(), expected.begin(), expected.end())) << tap;
      continue;
    }
    EXPECT_LE(relative_error(ours, reference), kTolerance) << tap;
    if (golden.contains("f64." + tap)) {
      EXPECT_LE(relative_error(ours, golden.tensor("f64." + tap)), kTolerance) << tap << " against FP64";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, ModelGolden,
                         ::testing::Values("v3_base", "v3_yarn_noq", "v3_zerobias_nonorm", "v3_fp8", "v2_group"),
                         [](const auto& golden_case) { return std::string(golden_case.param); });

TEST(ModelGoldenV1, LogitsAgreeWithTheRelease) {
  LASTBIT_NEEDS_SHARED();
  const testing::TempDir dir;
  const auto golden = io::SafetensorsFile::open(testing::shared_path("golden/model/v1_seqaux/golden.safetensors"));
  const tensor::NamedTensors outputs =
      run_case("v1_seqaux", "logits,router.logits.layer2,router.topk_idx.layer1,router.topk_weight.layer2", dir);
  EXPECT_LE(relative_error(outputs.at("logits"), golden.tensor("logits_eval")), 2e-5);
  EXPECT_LE(relative_error(outputs.at("router.logits.layer2"), golden.tensor("router.logits.layer2")), 2e-5);
  EXPECT_LE(relative_error(outputs.at("router.topk_weight.layer2"), golden.tensor("router.topk_weight.layer2")), 2e-5);
  const auto chosen = outputs.at("router.topk_idx.layer1").values<std::int64_t>();
  const Tensor reference = golden.tensor("router.topk_idx.layer1");
  const auto expected = reference.values<std::int64_t>();
  EXPECT_TRUE(std::equal(chosen.begin(), chosen.end(), expected.begin(), expected.end()));
}

}  // namespace
}  // namespace lastbit

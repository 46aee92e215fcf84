#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "io/npy.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using tensor::Tensor;
using testing::CliResult;
using testing::expect_one_line_error;

constexpr std::uint8_t kOne = 0x38;  // 1.0 in E4M3

class MmaCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    save("a", Tensor::from<std::uint8_t>({2, 3}, std::vector<std::uint8_t>(6, kOne)));
    save("b", Tensor::from<std::uint8_t>({2, 3}, std::vector<std::uint8_t>(6, kOne)));
    args_ = {{"--unit", "hopper_wgmma"}, {"--a-type", "e4m3"}, {"--b-type", "e4m3"},
             {"--a", path("a")},         {"--b", path("b")},   {"--out", path("d")}};
  }
  void save(const std::string& name, const Tensor& tensor) { io::save_npy(path(name), tensor); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_.file(name + ".npy"); }
  [[nodiscard]] CliResult run(const std::string& option = "", const std::string& value = "") {
    if (!option.empty()) args_[option] = value;
    std::vector<std::string> words{"mma"};
    for (const auto& [key, text] : args_) words.insert(words.end(), {key, text});
    return testing::run_cli(words);
  }
  void expect_refused(const CliResult& result, const std::vector<std::string>& parts) {
    expect_one_line_error(result, 2, parts);
    EXPECT_FALSE(std::filesystem::exists(path("d")));
  }

  testing::TempDir folder_;
  std::map<std::string, std::string> args_;
};

TEST_F(MmaCommand, ShortDotsArePaddedAndCIsZero) {
  const CliResult result = run();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Tensor d = io::load_npy(path("d"));
  EXPECT_EQ(d.dtype(), tensor::DType::kU32);
  EXPECT_EQ(d.shape(), (tensor::Shape{2}));
  for (const std::uint32_t code : d.values<std::uint32_t>()) EXPECT_EQ(code, 0x40400000U);  // 3.0
}

TEST_F(MmaCommand, HalfOutputHasHalfWidth) {
  save("c", Tensor::from<std::uint16_t>({2}, std::vector<std::uint16_t>{0x3c00, 0xbc00}));
  args_["--c"] = path("c");
  const CliResult result = run("--d-type", "f16");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Tensor d = io::load_npy(path("d"));
  ASSERT_EQ(d.dtype(), tensor::DType::kU16);
  EXPECT_EQ(d.values<std::uint16_t>()[0], 0x4400U);  // 4.0
  EXPECT_EQ(d.values<std::uint16_t>()[1], 0x4000U);  // 2.0
}

TEST_F(MmaCommand, NoRecordsMakeAnEmptyArray) {
  save("a", Tensor::empty(tensor::DType::kU8, {0, 32}));
  save("b", Tensor::empty(tensor::DType::kU8, {0, 32}));
  ASSERT_EQ(run().exit_code, 0);
  EXPECT_EQ(io::load_npy(path("d")).size(), 0);
}

TEST_F(MmaCommand, SuggestsNames) {
  expect_refused(run("--unit", "hoper_wgmma"), {"unknown unit 'hoper_wgmma'", "'hopper_wgmma'"});
  SetUp();
  expect_refused(run("--a-type", "e4m4"), {"unknown type 'e4m4'", "'e4m3'"});
}

TEST_F(MmaCommand, RefusesTypesThatTheUnitDoesNotHave) {
  args_["--b-type"] = "bf16";
  expect_refused(run("--a-type", "bf16"), {"a.npy: dtype u8, expected u16 codes of bf16"});
  SetUp();
  expect_refused(run("--unit", "volta_mma"), {"unit volta_mma has no e4m3 x e4m3 -> f32", "it has: f16 -> f32"});
  SetUp();
  expect_refused(run("--d-type", "bf16"), {"no e4m3 x e4m3 -> bf16"});
}

TEST_F(MmaCommand, RefusesWrongArrays) {
  expect_refused(run("--a", path("absent")), {"absent.npy"});
  SetUp();
  save("b", Tensor::zeros(tensor::DType::kU8, {2, 4}));
  expect_refused(run(), {"b.npy: shape [2, 4], expected [2, 3]"});
  SetUp();
  save("a", Tensor::zeros(tensor::DType::kU8, {6}));
  expect_refused(run(), {"a.npy: shape [6], expected two axes"});
  SetUp();
  save("b", Tensor::zeros(tensor::DType::kI64, {2, 3}));
  expect_refused(run(), {"b.npy: dtype i64, expected u8 codes of e4m3"});
  SetUp();
  save("c", Tensor::zeros(tensor::DType::kU32, {3}));
  expect_refused(run("--c", path("c")), {"c.npy: shape [3], expected [2]"});
  SetUp();
  save("c", Tensor::zeros(tensor::DType::kU16, {2}));
  expect_refused(run("--c", path("c")), {"c.npy: dtype u16, expected u32 codes of f32"});
}

}  // namespace
}  // namespace lastbit

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>

#include "io/npy.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using tensor::Tensor;
using testing::CliResult;
using testing::expect_one_line_error;

Tensor ones(std::int64_t rows, std::int64_t cols) {  // in E4M3
  return Tensor::from<std::uint8_t>({rows, cols},
                                    std::vector<std::uint8_t>(static_cast<std::size_t>(rows * cols), 0x38));
}

Tensor scales(tensor::Shape shape, const std::vector<float>& values) {
  return Tensor::from<float>(std::move(shape), values);
}

class GemmCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    save("a", ones(2, 200));
    save("b", ones(3, 200));
    save("sa", scales({2, 2}, {1, 2, 3, 4}));
    save("sb", scales({1, 2}, {0.5F, 0.25F}));
    args_ = {{"--a", path("a")}, {"--b", path("b")}, {"--out", path("d")}};
  }
  void save(const std::string& name, const Tensor& tensor) { io::save_npy(path(name), tensor); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_.file(name + ".npy"); }
  void scale() {
    args_["--scale-a"] = path("sa");
    args_["--scale-b"] = path("sb");
  }
  [[nodiscard]] CliResult run(const std::string& option = "", const std::string& value = "") {
    if (!option.empty()) args_[option] = value;
    std::vector<std::string> words{"gemm"};
    for (const auto& [key, text] : args_) words.insert(words.end(), {key, text});
    return testing::run_cli(words);
  }
  void expect_refused(const CliResult& result, const std::vector<std::string>& parts) {
    expect_one_line_error(result, 2, parts);
    EXPECT_FALSE(std::filesystem::exists(path("d")));
    SetUp();
  }
  void expect_result(const std::vector<float>& values) {
    const CliResult result = run();
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const Tensor d = io::load_npy(path("d"));
    ASSERT_EQ(d.dtype(), tensor::DType::kF32);
    ASSERT_EQ(d.shape(), (tensor::Shape{2, 3}));
    for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(d.values<float>()[i], values[i]);
  }

  testing::TempDir folder_;
  std::map<std::string, std::string> args_;
};

TEST_F(GemmCommand, WithoutScales) { expect_result({200, 200, 200, 200, 200, 200}); }

TEST_F(GemmCommand, WithScalesItPromotes) {
  scale();  // 128 of the first block, 72 of the second
  expect_result({64 + 36, 64 + 36, 64 + 36, 192 + 72, 192 + 72, 192 + 72});
}

TEST_F(GemmCommand, ScalesMayBeBits) {
  scale();
  save("sa", scales({2, 2}, {1, 2, 3, 4}).view_as(tensor::DType::kU32));
  expect_result({64 + 36, 64 + 36, 64 + 36, 192 + 72, 192 + 72, 192 + 72});
}

TEST_F(GemmCommand, AnotherUnit) {
  args_["--unit"] = "blackwell_tcgen05";
  expect_result({200, 200, 200, 200, 200, 200});
}

TEST_F(GemmCommand, RolesOutputsAndAccumulation) {
  Tensor a = ones(2, 200);  // row 1 is 2s: another code
  std::ranges::fill(a.mutable_values<std::uint8_t>().subspan(200), std::uint8_t{0x40});
  save("a", a);
  expect_result({200, 200, 200, 400, 400, 400});
  args_["--role"] = "tn";
  save("a", a.transpose(0, 1).contiguous());
  save("b", ones(200, 3));
  expect_result({200, 200, 200, 400, 400, 400});
  save("c", Tensor::from<float>({2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6}));
  args_["--add-to"] = path("c");
  expect_result({201, 202, 203, 404, 405, 406});
  save("c", Tensor::zeros(tensor::DType::kF32, {3, 2}));
  expect_one_line_error(run(), 2, {"c.npy: f32 [3, 2], expected f32 [2, 3], as D"});
  args_.erase("--add-to");
  args_["--to"] = "bf16";
  ASSERT_EQ(run().exit_code, 0);
  EXPECT_EQ(io::load_npy(path("d")).values<std::uint16_t>()[5], 0x43c8);  // 400
  expect_one_line_error(run("--to", "e4m3"), 2, {"unknown D's format 'e4m3'"});
}

TEST_F(GemmCommand, GroupedLayouts) {
  Tensor b = ones(6, 200);  // group 1 is 2s
  std::ranges::fill(b.mutable_values<std::uint8_t>().subspan(600), std::uint8_t{0x40});
  save("b", b.reshape({2, 3, 200}));
  save("groups", Tensor::from<std::int32_t>({2}, std::vector<std::int32_t>{1, -1}));
  args_["--group-of-row"] = path("groups");
  expect_result({400, 400, 400, 0, 0, 0});
  save("groups", Tensor::from<std::int32_t>({2}, std::vector<std::int32_t>{1, 2}));
  expect_one_line_error(run(), 2, {"group", "2"});
  args_.erase("--group-of-row");

  save("a", ones(4, 200).reshape({2, 2, 200}));
  save("rows", Tensor::from<std::int64_t>({2}, std::vector<std::int64_t>{2, 1}));
  args_["--rows-of-group"] = path("rows");
  const CliResult result = run();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Tensor d = io::load_npy(path("d"));
  ASSERT_EQ(d.shape(), (tensor::Shape{2, 2, 3}));
  const std::vector<float> expected{200, 200, 200, 200, 200, 200, 400, 400, 400, 0, 0, 0};
  EXPECT_TRUE(std::ranges::equal(d.values<float>(), expected));
  save("rows", Tensor::from<std::int64_t>({3}, std::vector<std::int64_t>{2, 1, 1}));
  expect_one_line_error(run(), 2, {"rows.npy: i64 [3], expected i32 or i64 [2]"});
  expect_one_line_error(run("--group-of-row", path("groups")), 2, {"two layouts"});
}

TEST_F(GemmCommand, RefusesUnusableScales) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 0.0F, -1.0F}) {
    scale();
    save("sa", scales({2, 2}, {1, 2, bad, 4}));
    expect_refused(run(), {"sa.npy: the scale at [1, 0] is", "expected a positive finite number"});
  }
  scale();
  save("sb", scales({2, 1}, {1, 2}));
  expect_refused(run(), {"sb.npy: shape [2, 1], expected [1, 2]"});
  scale();
  save("sb", Tensor::zeros(tensor::DType::kF64, {1, 2}));
  expect_refused(run(), {"sb.npy: dtype f64, expected f32 scales"});
  expect_refused(run("--scale-a", path("sa")), {"scales of a and b go together"});
}

TEST_F(GemmCommand, RefusesPromotionsThatDoNotFit) {
  expect_refused(run("--promotion", "deepgem"), {"unknown promotion 'deepgem'", "'deepgemm'"});
  expect_refused(run("--promote-every", "0"), {"promotion every 0", "expected 1 or more"});
  expect_refused(run("--promotion", "deepgemm"), {"promotion deepgemm needs scales of a and b"});
  scale();
  expect_refused(run("--promotion", "none"), {"promotion none takes no scales"});
  scale();
  expect_refused(run("--promote-every", "48"), {"48", "multiple of the unit's step, 32"});
  scale();
  expect_refused(run("--promote-every", "256"), {"scale_a[0, 1]", "promote every 128"});
}

TEST_F(GemmCommand, RefusesNamesAndArraysThatDoNotFit) {
  expect_refused(run("--numerics", "fp8-h80"), {"unknown numerics 'fp8-h80'", "'fp8-h800'"});
  expect_refused(run("--unit", "hopper_wgma"), {"unknown unit", "'hopper_wgmma'"});
  expect_refused(run("--numerics", "bf16-h800"), {"a.npy: dtype u8, expected u16 codes of bf16"});
  expect_refused(run("--a", path("absent")), {"absent.npy"});
  save("b", ones(3, 199));
  expect_refused(run(), {"b.npy: shape [3, 199] has K = 199, expected 200"});
}

}  // namespace
}  // namespace lastbit

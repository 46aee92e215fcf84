#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <limits>

#include "io/npy.h"
#include "numerics/format.h"
#include "support/cli.h"
#include "support/shared.h"
#include "tensor/codes.h"

namespace lastbit {
namespace {

using tensor::Tensor;
using testing::CliResult;
using testing::expect_one_line_error;

class CastCommand : public ::testing::Test {
 protected:
  void SetUp() override { save(Tensor::from<float>({2, 2}, std::array<float, 4>{1.0F, -0.5F, 1e9F, 1.1F})); }
  void save(const Tensor& tensor) { io::save_npy(in(), tensor); }
  [[nodiscard]] std::string in() const { return folder_.file("x.npy"); }
  [[nodiscard]] std::string out() const { return folder_.file("y.npy"); }
  CliResult run(std::vector<std::string> options) {
    options.insert(options.begin(), {"cast", in(), "--out", out()});
    return testing::run_cli(options);
  }
  Tensor result_of(const std::vector<std::string>& options) {
    const CliResult result = run(options);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return io::load_npy(out());
  }

  testing::TempDir folder_;
};

TEST_F(CastCommand, EveryFormatGoesThereAndBack) {
  for (const std::string& name : numerics::format_names()) {
    const numerics::Format format = *numerics::find_format(name);
    const Tensor codes = result_of({"--to", name});
    EXPECT_EQ(codes.dtype(), tensor::code_dtype(format)) << name;
    EXPECT_EQ(codes.shape(), (tensor::Shape{2, 2}));
    io::save_npy(in(), codes);
    const Tensor values = result_of({"--from", name});
    EXPECT_EQ(values.dtype(), tensor::DType::kF32);
    EXPECT_EQ(values.values<float>()[0], 1.0F) << name;
    EXPECT_EQ(values.values<float>()[1], name == "e8m0" ? 0.5F : -0.5F) << name;
    SetUp();
  }
}

TEST_F(CastCommand, OverflowAndRoundingAreChosen) {
  EXPECT_EQ(result_of({"--to", "e4m3"}).values<std::uint8_t>()[2], 0x7eU);
  EXPECT_EQ(result_of({"--to", "e4m3", "--overflow", "none"}).values<std::uint8_t>()[2], 0x7fU);
  EXPECT_EQ(result_of({"--to", "e5m2", "--overflow", "none"}).values<std::uint8_t>()[2], 0x7cU);
  EXPECT_EQ(result_of({"--to", "f16", "--overflow", "saturate"}).values<std::uint16_t>()[2], 0x7bffU);
  EXPECT_EQ(result_of({"--to", "e4m3"}).values<std::uint8_t>()[3], 0x39U);
  EXPECT_EQ(result_of({"--to", "e4m3", "--rounding", "zero"}).values<std::uint8_t>()[3], 0x38U);
  EXPECT_EQ(result_of({"--to", "e4m3", "--rounding", "up"}).values<std::uint8_t>()[3], 0x39U);
}

TEST_F(CastCommand, StochasticRoundingIsSeeded) {
  save(Tensor::from<float>({1000}, std::vector<float>(1000, 1.0F + 0.125F * 0.25F)));
  const Tensor codes = result_of({"--to", "e4m3", "--rounding", "stochastic", "--seed", "3"});
  const auto up = std::count(codes.values<std::uint8_t>().begin(), codes.values<std::uint8_t>().end(), 0x39U);
  EXPECT_NEAR(static_cast<double>(up), 250, 55);  // four standard deviations
  const std::string first = testing::read_file(out());
  static_cast<void>(result_of({"--to", "e4m3", "--rounding", "stochastic", "--seed", "3"}));
  EXPECT_EQ(testing::read_file(out()), first);
  static_cast<void>(result_of({"--to", "e4m3", "--rounding", "stochastic", "--seed", "4"}));
  EXPECT_NE(testing::read_file(out()), first);
}

TEST_F(CastCommand, RefusesWhatDoesNotFit) {
  expect_one_line_error(run({"--to", "e4m4"}), 2, {"unknown format 'e4m4'", "'e4m3'"});
  expect_one_line_error(run({"--to", "e4m3", "--convention", "ml-dtypes"}), 2, {"convention", "'ml_dtypes'"});
  expect_one_line_error(run({"--to", "e4m3", "--overflow", "nan"}), 2, {"unknown overflow 'nan'", "saturate, none"});
  expect_one_line_error(run({"--to", "e8m0", "--rounding", "stochastic"}), 2, {"e8m0"});
  expect_one_line_error(run({}), 2, {"--to", "--from"});
  expect_one_line_error(run({"--to", "e4m3", "--from", "e4m3"}), 2, {"--to", "--from"});
  expect_one_line_error(run({"--from", "e4m3"}), 2, {"x.npy: dtype f32, expected u8 codes of e4m3"});
  save(Tensor::from<std::uint16_t>({2}, std::vector<std::uint16_t>{0x0fff, 0x1000}));
  expect_one_line_error(run({"--from", "e5m6"}), 2, {"x.npy: element 1 is 0x1000", "e5m6 below 0x1000"});
  save(Tensor::from<std::uint8_t>({1}, std::vector<std::uint8_t>{0x10}));
  expect_one_line_error(run({"--from", "e2m1"}), 2, {"x.npy: element 0 is 0x10"});
  save(Tensor::zeros(tensor::DType::kI64, {2}));
  expect_one_line_error(run({"--to", "e4m3"}), 2, {"x.npy: dtype i64, expected f32"});
  std::filesystem::remove(in());
  expect_one_line_error(run({"--to", "e4m3"}), 2, {"x.npy"});
  EXPECT_FALSE(std::filesystem::exists(out()));
}

}  // namespace
}  // namespace lastbit

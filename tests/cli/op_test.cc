#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "check/op_registry.h"
#include "io/arrays.h"
#include "io/npy.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;
using testing::CliResult;
using testing::expect_one_line_error;
using testing::run_cli;

Tensor floats(const tensor::Shape& shape, const std::vector<float>& values) {
  return Tensor::from<float>(shape, values);
}

std::vector<float> values_of(const Tensor& tensor) {
  return {tensor.values<float>().begin(), tensor.values<float>().end()};
}

TEST(Op, ListsEveryOperator) {
  const CliResult result = run_cli({"op", "--list"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const check::OpEntry& op : check::op_registry())
    EXPECT_NE(("\n" + result.out).find("\n" + op.name + " "), std::string::npos) << op.name;
}

TEST(Op, DescribesItsInputsSettingsAndResults) {
  for (const check::OpEntry& op : check::op_registry()) {
    const CliResult result = run_cli({"op", op.name});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    for (const check::OpInput& input : op.inputs) EXPECT_NE(result.out.find("\n  " + input.name), std::string::npos);
    for (const check::OpSetting& setting : op.settings)
      EXPECT_NE(result.out.find("\n  " + setting.key), std::string::npos);
    for (const check::OpOutput& output : op.outputs)
      EXPECT_NE(result.out.find("\n  " + output.name), std::string::npos);
  }
}

// y = x W^T + b of small whole numbers: exact by hand.
TEST(Op, LinearForwardAndBackwardFromAContainer) {
  const testing::TempDir dir;
  io::save_arrays(dir.file("in.npz"), {{"x", floats({2, 2}, {1, 2, 3, 4})},
                                       {"weight", floats({3, 2}, {1, 0, 0, 1, 1, 1})},
                                       {"bias", floats({3}, {10, 20, 30})},
                                       {"dy", floats({2, 3}, {1, 2, 3, 4, 5, 6})}});
  const CliResult result = run_cli({"op", "linear", "--in", dir.file("in.npz"), "--out", dir.file("out.safetensors")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("dweight                      f32   [3, 2]"), std::string::npos) << result.out;
  const NamedTensors out = io::load_arrays(dir.file("out.safetensors"));
  EXPECT_EQ(values_of(out.at("y")), (std::vector<float>{11, 22, 33, 13, 24, 37}));
  EXPECT_EQ(values_of(out.at("dx")), (std::vector<float>{4, 5, 10, 11}));
  EXPECT_EQ(values_of(out.at("dweight")), (std::vector<float>{13, 18, 17, 24, 21, 30}));
  EXPECT_EQ(values_of(out.at("dbias")), (std::vector<float>{5, 7, 9}));
}

TEST(Op, BindsSingleArraysByName) {
  const testing::TempDir dir;
  io::save_arrays(dir.file("all.h5"), {{"a.one", floats({2}, {1, 2})}, {"else", floats({1}, {0})}});
  io::save_npy(dir.file("b.npy"), floats({2}, {0.5F, -1}));
  const CliResult result = run_cli({"op", "add", "--in", "a=" + dir.file("all.h5:a.one"), "--in",
                                    "b=" + dir.file("b.npy"), "--out", dir.file("y.npy")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(values_of(io::load_npy(dir.file("y.npy"))), (std::vector<float>{1.5F, 1}));
}

TEST(Op, PrintsResultsOfOneElement) {
  const testing::TempDir dir;
  io::save_npy(dir.file("g.npy"), floats({2}, {3, 4}));
  const CliResult result = run_cli({"op", "clip_gradients", "--in", "grad=" + dir.file("g.npy")});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("norm                         f64   [1]  5\n"), std::string::npos) << result.out;
}

// The policies give their own bits, and settle rounds them to BF16.
TEST(Op, LinearFollowsANumericsPolicy) {
  const testing::TempDir dir;
  std::vector<float> x(256);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 1.0F + static_cast<float>(i % 37) / 64;
  const std::vector<std::string> inputs{"--in", "x=" + dir.file("x.npy"), "--in", "weight=" + dir.file("x.npy"),
                                        "--out"};
  io::save_npy(dir.file("x.npy"), floats({1, 256}, x));
  const auto y_of = [&](std::vector<std::string> settings) {
    std::vector<std::string> words{"op", "linear"};
    words.insert(words.end(), inputs.begin(), inputs.end());
    words.push_back(dir.file("y.npy"));
    words.insert(words.end(), settings.begin(), settings.end());
    const CliResult result = run_cli(words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return values_of(io::load_npy(dir.file("y.npy")))[0];
  };
  const float exact = y_of({});
  const float recipe = y_of({"--set", "numerics=fp8-h800"});
  const float settled = y_of({"--set", "numerics=fp8-h800", "--set", "settle=true"});
  EXPECT_NE(recipe, exact);
  EXPECT_NEAR(recipe / exact, 1, 0.05);  // three fraction bits an operand
  EXPECT_NE(settled, recipe);
  EXPECT_NEAR(settled / recipe, 1, 0x1p-8);                                                    // half a BF16 step
  EXPECT_NE(y_of({"--set", "numerics=fp8-h800", "--set", "layer=attention_output"}), recipe);  // power-of-two scales
}

class OpErrors : public ::testing::Test {
 protected:
  // Runs `op` with more words and an --out that must not come into being.
  CliResult run(const std::string& op, const std::vector<std::string>& words) {
    std::vector<std::string> all{"op", op, "--out", dir.file("out.npz")};
    all.insert(all.end(), words.begin(), words.end());
    CliResult result = run_cli(all);
    EXPECT_FALSE(std::filesystem::exists(dir.file("out.npz")));
    return result;
  }

  void SetUp() override {
    io::save_npy(dir.file("x.npy"), floats({2, 3}, {1, 2, 3, 4, 5, 6}));
    io::save_npy(dir.file("w.npy"), floats({3}, {1, 1, 1}));
    io::save_arrays(dir.file("in.npz"),
                    {{"x", floats({2, 3}, {1, 2, 3, 4, 5, 6})}, {"wieght", floats({3}, {1, 1, 1})}});
  }

  testing::TempDir dir;
};

TEST_F(OpErrors, OperatorsAndOptions) {
  expect_one_line_error(run("rmsnorm", {}), 2, {"unknown operator 'rmsnorm'", "did you mean 'rms_norm'?"});
  expect_one_line_error(run_cli({"op"}), 2, {"expected the name of an operator, or --list"});
  expect_one_line_error(run_cli({"op", "add", "--list"}), 2, {"--list goes without a name"});
  expect_one_line_error(run("rms_norm", {"--set", "eps"}), 2, {"--set eps: expected KEY=VALUE"});
  expect_one_line_error(run("rms_norm", {"--set", "eps=1", "--set", "eps=2"}), 2, {"'eps' is set twice"});
  expect_one_line_error(run("rms_norm", {"--set", "epsilon=1"}), 2, {"unknown setting 'epsilon'", "eps"});
}

TEST_F(OpErrors, Inputs) {
  const std::string x = "x=" + dir.file("x.npy");
  expect_one_line_error(run("rms_norm", {"--in", x}), 2, {"rms_norm", "input 'weight' is missing", "[d]"});
  expect_one_line_error(run("rms_norm", {"--in", x, "--in", x}), 2, {"input 'x' is given twice"});
  expect_one_line_error(run("rms_norm", {"--in", dir.file("x.npy")}), 2, {"x.npy", "NAME=FILE"});
  expect_one_line_error(run("rms_norm", {"--in", "y=" + dir.file("x.npy")}), 2, {"no input 'y'", "x, weight, dy"});
  expect_one_line_error(run("rms_norm", {"--in", dir.file("in.npz")}), 2,
                        {"in.npz", "no input 'wieght'", "did you mean 'weight'?", "NAME="});
  expect_one_line_error(run("rms_norm", {"--in", "x=" + dir.file("in.npz:z")}), 2, {"no array 'z'"});
  expect_one_line_error(run("rms_norm", {"--in", "x=" + dir.file("none.npy")}), 2, {"none.npy", "no such file"});
  expect_one_line_error(run("linear", {"--in", x, "--in", "weight=" + dir.file("x.npy"), "--set", "numerics=fp8"}), 2,
                        {"numerics 'fp8'", "fp8-h800"});
  expect_one_line_error(run("linear", {"--in", x, "--in", "weight=" + dir.file("x.npy"), "--set", "numerics=fp64"}), 2,
                        {"inputs are f32, expected f64 for the numerics fp64"});
}

TEST_F(OpErrors, OutputsOfSeveralArraysWantAContainer) {
  const std::vector<std::string> words{"op",    "clip_gradients", "--in", "grad=" + dir.file("x.npy"),
                                       "--out", dir.file("y.npy")};
  expect_one_line_error(run_cli(words), 2, {"y.npy", "holds one array"});
  EXPECT_FALSE(std::filesystem::exists(dir.file("y.npy")));
}

}  // namespace
}  // namespace lastbit

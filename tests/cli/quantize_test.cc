#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/philox.h"
#include "io/npy.h"
#include "numerics/normal.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using testing::expect_one_line_error;
using testing::run_cli;

void save_normal(const std::string& path, tensor::Shape shape, std::uint64_t seed) {
  tensor::Tensor values = tensor::Tensor::empty(tensor::DType::kF32, std::move(shape));
  numerics::fill_normal(core::RandomStream(seed, "values"), 1.0, values.mutable_values<float>());
  io::save_npy(path, values);
}

TEST(Quantize, FeedsGemm) {
  const testing::TempDir dir;
  save_normal(dir.file("a.npy"), {40, 300}, 1);
  save_normal(dir.file("b.npy"), {150, 300}, 2);
  const testing::CliResult a =
      run_cli({"quantize", dir.file("a.npy"), "--out", dir.file("qa.npy"), "--scales", dir.file("sa.npy")});
  EXPECT_EQ(a.exit_code, 0) << a.err;
  EXPECT_NE(a.out.find("codes [40, 300] e4m3, scales [40, 3]"), std::string::npos) << a.out;
  EXPECT_EQ(run_cli({"quantize", dir.file("b.npy"), "--tile", "128x128", "--out", dir.file("qb.npy"), "--scales",
                     dir.file("sb.npy")})
                .exit_code,
            0);
  const testing::CliResult product =
      run_cli({"gemm", "--a", dir.file("qa.npy"), "--b", dir.file("qb.npy"), "--scale-a", dir.file("sa.npy"),
               "--scale-b", dir.file("sb.npy"), "--out", dir.file("d.npy")});
  ASSERT_EQ(product.exit_code, 0) << product.err;
  const tensor::Tensor x = io::load_npy(dir.file("a.npy"));
  const tensor::Tensor y = io::load_npy(dir.file("b.npy"));
  const tensor::Tensor d = io::load_npy(dir.file("d.npy"));
  double squares = 0;
  double differences = 0;
  for (std::int64_t i = 0; i < 40; ++i)
    for (std::int64_t j = 0; j < 150; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < 300; ++k)
        sum += static_cast<double>(x.values<float>()[static_cast<std::size_t>(i * 300 + k)]) *
               static_cast<double>(y.values<float>()[static_cast<std::size_t>(j * 300 + k)]);
      const double difference = static_cast<double>(d.values<float>()[static_cast<std::size_t>(i * 150 + j)]) - sum;
      squares += sum * sum;
      differences += difference * difference;
    }
  // Three fraction bits in both operands: 3.7e-2 in section 4 of the numerics specification.
  EXPECT_LT(std::sqrt(differences / squares), 0.045);
  EXPECT_GT(std::sqrt(differences / squares), 0.03);
}

TEST(Quantize, AndBackAgain) {
  const testing::TempDir dir;
  save_normal(dir.file("x.npy"), {5, 64}, 3);
  EXPECT_EQ(run_cli({"quantize", dir.file("x.npy"), "--tile", "mx", "--transpose", "--out", dir.file("q.npy"),
                     "--scales", dir.file("s.npy")})
                .exit_code,
            0);
  EXPECT_EQ(io::load_npy(dir.file("q.npy")).shape(), (tensor::Shape{64, 5}));
  const testing::CliResult back = run_cli(
      {"dequantize", dir.file("q.npy"), "--scales", dir.file("s.npy"), "--tile", "mx", "--out", dir.file("y.npy")});
  ASSERT_EQ(back.exit_code, 0) << back.err;
  const tensor::Tensor x = io::load_npy(dir.file("x.npy"));
  const tensor::Tensor y = io::load_npy(dir.file("y.npy"));
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t j = 0; j < 64; ++j) EXPECT_NEAR(y.values<float>()[j * 5 + i], x.values<float>()[i * 64 + j], 0.26);
}

TEST(Quantize, WrongInputIsOneLine) {
  const testing::TempDir dir;
  save_normal(dir.file("x.npy"), {4, 8}, 4);
  const std::vector<std::string> good{"quantize",        dir.file("x.npy"), "--out",
                                      dir.file("q.npy"), "--scales",        dir.file("s.npy")};
  const auto with = [&](std::initializer_list<std::string> more) {
    std::vector<std::string> args = good;
    args.insert(args.end(), more);
    return run_cli(args);
  };
  expect_one_line_error(with({"--tile", "128"}), 2, {"tile", "'128'", "1x128"});
  expect_one_line_error(with({"--to", "bf16"}), 2, {"bf16", "e4m3, e5m2 or e2m1"});
  expect_one_line_error(with({"--scale", "ue8mo"}), 2, {"ue8m0"});
  expect_one_line_error(with({"--zero-block", "epsilon", "--epsilon", "-1"}), 2, {"--epsilon"});
  tensor::Tensor bad = tensor::Tensor::zeros(tensor::DType::kF32, {2, 3});
  bad.mutable_values<float>()[4] = std::numeric_limits<float>::infinity();
  io::save_npy(dir.file("bad.npy"), bad);
  expect_one_line_error(
      run_cli({"quantize", dir.file("bad.npy"), "--out", dir.file("q.npy"), "--scales", dir.file("s.npy")}), 2,
      {"bad.npy", "[1, 1]", "inf"});
  ASSERT_EQ(run_cli(good).exit_code, 0);
  expect_one_line_error(run_cli({"dequantize", dir.file("q.npy"), "--scales", dir.file("s.npy"), "--tile", "1x2",
                                 "--out", dir.file("y.npy")}),
                        2, {"s.npy", "[4, 1]", "[4, 4]"});
}

TEST(Quantize, Nvfp4ToFilesAndBack) {
  const testing::TempDir dir;
  save_normal(dir.file("x.npy"), {5, 40}, 4);
  const std::vector<std::string> quantize{"quantize", dir.file("x.npy"), "--to",     "nvfp4",
                                          "--out",    dir.file("q.npy"), "--scales", dir.file("s.npy")};
  expect_one_line_error(run_cli(quantize), 2, {"--to nvfp4: expected --tensor-scale too"});
  std::vector<std::string> whole = quantize;
  whole.insert(whole.end(), {"--tensor-scale", dir.file("t.npy")});
  const testing::CliResult result = run_cli(whole);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("codes [5, 40] nvfp4, scales [5, 3]"), std::string::npos) << result.out;
  const std::vector<std::string> back{"dequantize", dir.file("q.npy"), "--from",         "nvfp4",
                                      "--scales",   dir.file("s.npy"), "--tensor-scale", dir.file("t.npy"),
                                      "--out",      dir.file("y.npy")};
  ASSERT_EQ(run_cli(back).exit_code, 0);
  const tensor::Tensor x = io::load_npy(dir.file("x.npy"));
  const tensor::Tensor y = io::load_npy(dir.file("y.npy"));
  double squares = 0;
  double differences = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    const double value = static_cast<double>(x.values<float>()[i]);
    squares += value * value;
    differences += std::pow(static_cast<double>(y.values<float>()[i]) - value, 2);
  }
  EXPECT_LT(std::sqrt(differences / squares), 0.13);
  EXPECT_GT(std::sqrt(differences / squares), 0.05);
  tensor::Tensor codes = io::load_npy(dir.file("q.npy")).clone();
  codes.mutable_values<std::uint8_t>()[7] = 0x1f;
  io::save_npy(dir.file("q.npy"), codes);
  expect_one_line_error(run_cli(back), 2, {"q.npy: element 7 is 0x1f", "e2m1 below 0x10"});
}

}  // namespace
}  // namespace lastbit

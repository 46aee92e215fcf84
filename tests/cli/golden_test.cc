#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "io/arrays.h"
#include "io/file_bytes.h"
#include "io/hdf5.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using testing::expect_one_line_error;
using testing::run_cli;

TEST(GoldenCommand, WhatItWritesAgreesWithTheOtherCommands) {
  const testing::TempDir dir;
  const std::string file = dir.file("g.h5");
  ASSERT_EQ(run_cli({"golden", "--op", "gemm", "--shapes", "7x5x300,1x1x1", "--families", "all_codes,zero_rows",
                     "--promotion", "cublas", "--d-type", "bf16", "--seed", "3", "--out", file})
                .exit_code,
            0);
  EXPECT_EQ(io::hdf5_names(file).size(), 2 * 2 * 5);
  const std::string group = "gemm/all_codes/7x5x300";
  const io::Attributes attributes = io::load_hdf5_attributes(file, group);
  for (const auto& [name, expected] : io::Attributes{{"unit", std::string("hopper_wgmma")},
                                                     {"fraction_bits", std::int64_t{13}},
                                                     {"promotion", std::string("cublas")},
                                                     {"promote_every", std::int64_t{128}},
                                                     {"k", std::int64_t{300}},
                                                     {"seed", std::int64_t{3}}})
    EXPECT_EQ(attributes.at(name), expected) << name;

  const std::string base = file + ":" + group + "/";
  ASSERT_EQ(run_cli({"gemm", "--a", base + "a", "--b", base + "b", "--scale-a", base + "scale_a", "--scale-b",
                     base + "scale_b", "--promotion", "cublas", "--to", "bf16", "--out", dir.file("d.npz:d")})
                .exit_code,
            0);
  const tensor::Tensor d = io::load_array(dir.file("d.npz:d"));
  EXPECT_TRUE(std::ranges::equal(d.bytes(), io::load_array(base + "d").bytes()));

  ASSERT_EQ(run_cli({"golden", "--op", "grouped_gemm", "--shapes", "9x5x40", "--families", "normal", "--groups", "3",
                     "--out", file})
                .exit_code,
            0);
  const std::string grouped = file + ":grouped_gemm/normal/9x5x40/";
  ASSERT_EQ(run_cli({"gemm", "--a", grouped + "a_masked", "--b", grouped + "b", "--rows-of-group",
                     grouped + "rows_of_group", "--out", dir.file("d.npy")})
                .exit_code,
            0);
  EXPECT_TRUE(
      std::ranges::equal(io::load_array(dir.file("d.npy")).bytes(), io::load_array(grouped + "d_masked").bytes()));
}

TEST(GoldenCommand, SameSeedSameBytes) {
  const testing::TempDir dir;
  const auto bytes = [&](const char* op, const char* shapes, const char* seed) {
    EXPECT_EQ(run_cli({"golden", "--op", op, "--shapes", shapes, "--seed", seed, "--out", dir.file("x.h5")}).exit_code,
              0);
    const auto file = io::FileBytes::open(dir.file("x.h5"));
    return std::vector<std::byte>(file->bytes().begin(), file->bytes().end());
  };
  for (const auto& [op, shapes] :
       {std::pair{"mma", "40x32"}, std::pair{"quantize", "7x130"}, std::pair{"cast", "1000"}}) {
    EXPECT_EQ(bytes(op, shapes, "1"), bytes(op, shapes, "1"));
    EXPECT_NE(bytes(op, shapes, "1"), bytes(op, shapes, "2"));
  }
}

TEST(GoldenCommand, RefusesWhatItCannotWrite) {
  const testing::TempDir dir;
  const auto refused = [&](const std::vector<std::string>& options, const std::vector<std::string>& parts,
                           const char* out = "x.h5") {
    std::vector<std::string> words{"golden", "--out", dir.file(out)};
    words.insert(words.end(), options.begin(), options.end());
    expect_one_line_error(run_cli(words), 2, parts);
    EXPECT_FALSE(std::filesystem::exists(dir.file(out)));
  };
  refused({"--op", "gem", "--shapes", "1x2x3"}, {"unknown operation 'gem'", "'gemm'"});
  refused({"--op", "gemm", "--shapes", "1x2"}, {"shape 1x2: expected MxNxK"});
  refused({"--op", "gemm", "--shapes", "1x2x3,4x0x5"}, {"'4x0x5'"});
  refused({"--op", "gemm", "--shapes", "1x2x3", "--d-type", "e4m3"}, {"e4m3: expected f32, bf16 or f16"});
  refused({"--op", "gemm", "--shapes", "1x2x3", "--families", "normale"}, {"'normale'", "'normal'"});
  refused({"--op", "quantize", "--shapes", "4x4", "--families", "specials"}, {"quantize takes finite numbers only"});
  refused({"--op", "quantize", "--shapes", "4x4", "--to", "bf16"}, {"bf16", "e4m3, e5m2 or e2m1"});
  refused({"--op", "cast", "--shapes", "4"}, {"x.npz", "ends in .h5"}, "x.npz");
}

}  // namespace
}  // namespace lastbit

// casts.npz through `lastbit cast`: all 65,536 BF16 inputs, a million FP32 inputs made here, and decoding.
#include <gtest/gtest.h>

#include <array>
#include <numeric>

#include "golden/vectors.h"
#include "io/arrays.h"
#include "io/npy.h"
#include "support/shared.h"

namespace lastbit::golden {
namespace {

std::uint64_t splitmix64(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// Input i of the set "rand", by the recipe in the index.
std::uint32_t random_input(std::uint64_t seed, std::uint64_t i) {
  constexpr std::array<std::uint32_t, 6> kTies{0x80000, 0x7ffff, 0x80001, 0x100000, 0x0fffff, 0x100001};
  const std::uint64_t z = splitmix64(seed, i);
  auto bits = static_cast<std::uint32_t>(z);
  if (i % 2 == 1) bits = (bits & 0x807fffffU) | (101 + static_cast<std::uint32_t>((z >> 32) % 44)) << 23;
  if (i % 8 == 7) {
    const auto tie = static_cast<std::size_t>((z >> 48) % 6);
    const std::uint32_t low = tie < 3 ? 0xfffffU : 0x1fffffU;
    bits = (bits & ~low) | kTies[tie];
  }
  return bits;
}

std::uint32_t crc32(std::span<const std::byte> bytes) {
  std::uint32_t crc = ~0U;
  for (const std::byte byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
  }
  return ~crc;
}

tensor::Tensor golden_array(const std::string& key) { return io::load_array(array_path("casts.npz", key)); }

void save_as_f32(const std::string& path, const std::vector<std::uint32_t>& bits) {
  const auto count = static_cast<std::int64_t>(bits.size());
  io::save_npy(path, tensor::Tensor::from<std::uint32_t>({count}, bits).view_as(tensor::DType::kF32));
}

struct Cast {
  const char* key;  // after "bf16all__" or "rand__"
  std::vector<std::string> options;
};

std::vector<std::string> options(const char* to, const char* convention, const char* overflow, const char* rounding) {
  return {"--to", to, "--convention", convention, "--overflow", overflow, "--rounding", rounding};
}

std::vector<Cast> casts() {
  return {{"cuda_e4m3_sat", options("e4m3", "cuda", "saturate", "nearest")},
          {"cuda_e4m3_nosat", options("e4m3", "cuda", "none", "nearest")},
          {"cuda_e5m2_sat", options("e5m2", "cuda", "saturate", "nearest")},
          {"cuda_e5m2_nosat", options("e5m2", "cuda", "none", "nearest")},
          {"cuda_e8m0_ceil", options("e8m0", "cuda", "saturate", "up")},
          {"cuda_e8m0_floor", options("e8m0", "cuda", "saturate", "zero")},
          {"mldtypes_e4m3_nosat", options("e4m3", "ml_dtypes", "none", "nearest")},
          {"mldtypes_e8m0", options("e8m0", "ml_dtypes", "none", "nearest")}};
}

void expect_cast(const std::string& input, const std::string& key, const std::vector<std::string>& cast_options) {
  std::vector<std::string> args{"cast", input};
  args.insert(args.end(), cast_options.begin(), cast_options.end());
  expect_same_bits(run_to_array(args), golden_array(key), key);
}

TEST(GoldenCasts, EveryBf16Input) {
  LASTBIT_NEEDS_SHARED();
  const testing::TempDir folder;
  std::vector<std::uint32_t> inputs(65536);
  for (std::uint32_t i = 0; i < 65536; ++i) inputs[i] = i << 16;
  save_as_f32(folder.file("x.npy"), inputs);
  for (const Cast& cast : casts()) expect_cast(folder.file("x.npy"), std::string("bf16all__") + cast.key, cast.options);
}

TEST(GoldenCasts, AMillionFp32Inputs) {
  LASTBIT_NEEDS_SHARED();
  const testing::TempDir folder;
  const std::uint64_t seed = index_of("casts.npz").at("rand_input").at("seed");
  std::vector<std::uint32_t> inputs(1000000);
  for (std::uint64_t i = 0; i < inputs.size(); ++i) inputs[i] = random_input(seed, i);
  ASSERT_EQ(crc32(std::as_bytes(std::span(inputs))), bits_of(golden_array("rand__input_crc32"))[0]);
  save_as_f32(folder.file("x.npy"), inputs);
  for (const Cast& cast : casts()) {
    const bool prefix = std::string(cast.key).find("e8m0") != std::string::npos;
    expect_cast(folder.file("x.npy"), std::string("rand__") + cast.key + (prefix ? "_first262144" : ""), cast.options);
  }
  expect_cast(folder.file("x.npy"), "rand__bf16_first262144", options("bf16", "ml_dtypes", "none", "nearest"));
}

TEST(GoldenCasts, EveryCodeDecodes) {
  LASTBIT_NEEDS_SHARED();
  const testing::TempDir folder;
  std::vector<std::uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), std::uint8_t{0});
  io::save_npy(folder.file("codes.npy"), tensor::Tensor::from<std::uint8_t>({256}, codes));
  for (const std::string format : {"e4m3", "e5m2", "e8m0"}) {
    const tensor::Tensor values = run_to_array({"cast", folder.file("codes.npy"), "--from", format});
    EXPECT_EQ(values.dtype(), tensor::DType::kF32);
    expect_same_bits(values, golden_array("decode_" + format + "_to_f32"), format);
  }
}

}  // namespace
}  // namespace lastbit::golden

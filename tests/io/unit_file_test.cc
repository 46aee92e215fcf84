#include "io/unit_file.h"

#include <gtest/gtest.h>

#include <bit>

#include "core/error.h"
#include "core/philox.h"
#include "io/atomic_file.h"
#include "numerics/gemm.h"
#include "support/shared.h"

namespace lastbit::io {
namespace {

using numerics::Format;

constexpr const char* kHopperAgain = R"(
[[unit]]
name = "again"
hardware = "as hopper_wgmma"
provenance = "copied for a test"
[[unit.row]]
operands = ["e4m3", "e5m2"]
mixed = true
fraction_bits = 13
step_k = 32
output_grid = "e8m13"
[[unit]]
name = "exact"
[[unit.row]]
operands = ["e4m3fnuz"]
accumulation = "exact"
step_k = 16
output_rounding = "nearest"
)";

std::string message_of(const std::string& text, const std::string& name = "") {
  const testing::TempDir dir;
  io::write_text_file(dir.file("u.toml"), text);
  try {
    (void)find_unit(dir.file("u.toml") + name);
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

std::vector<float> product(const numerics::Unit& unit) {
  constexpr std::int64_t kSize = 40;
  constexpr std::int64_t kInner = 100;
  const core::RandomStream stream(1, "codes");
  std::vector<std::byte> codes;
  for (std::uint64_t i = 0; i < 2 * kSize * kInner; ++i) codes.push_back(static_cast<std::byte>(stream.word(i) % 0x7c));
  const std::span all(codes);
  std::vector<float> d(kSize * kSize);
  numerics::gemm(rule_of(unit, Format::kE4M3, Format::kE5M2, Format::kF32),
                 {{Format::kE4M3, kSize, kInner, all.first(kSize * kInner)},
                  {Format::kE5M2, kSize, kInner, all.subspan(kSize * kInner)},
                  {},
                  {}},
                 {}, d);
  return d;
}

TEST(UnitFile, ACopyOfABuiltInUnitHasItsBits) {
  const testing::TempDir dir;
  io::write_text_file(dir.file("u.toml"), kHopperAgain);
  const numerics::Unit again = find_unit(dir.file("u.toml") + ":again");
  EXPECT_EQ(again.provenance, "copied for a test");
  EXPECT_EQ(product(again), product(find_unit("hopper_wgmma")));
  EXPECT_EQ(load_units(dir.file("u.toml")).size(), 2u);
}

// One step of BF16 products, D's bits.
std::uint32_t step(const std::string& unit, const std::vector<float>& a, const std::vector<float>& b, std::uint32_t c) {
  const numerics::MmaRule rule = rule_of(find_unit(unit), Format::kBF16, Format::kBF16, Format::kF32);
  std::vector<std::byte> codes;
  for (const std::vector<float>* side : {&a, &b})
    for (const float value : *side) {
      const std::uint32_t code = encode(value, Format::kBF16, numerics::default_encode_options(Format::kBF16));
      EXPECT_EQ(decode(code, Format::kBF16), value) << "chosen to be exact";
      codes.push_back(static_cast<std::byte>(code & 0xff));
      codes.push_back(static_cast<std::byte>(code >> 8));
    }
  const auto k = static_cast<std::int64_t>(a.size());
  const std::span all(codes);
  std::uint32_t d = 0;
  mma(rule, {Format::kBF16, 1, k, all.first(a.size() * 2)}, {Format::kBF16, 1, k, all.subspan(a.size() * 2)}, {&c, 1},
      {&d, 1});
  return d;
}

TEST(UnitVariants, ZerosMayTakePartInTheAlignment) {
  // 0 times 1 has exponent -126 in that reading: c = 2^-148, at F = 25, is 2^-22 of the alignment's last place... kept
  // by both; c as small as FP32 has it and 0 times 2^40: the grid is 2^(-126 + 40 - 25) = 2^-111.
  const std::uint32_t c = 1u << 12;  // 2^-137
  EXPECT_EQ(step("hopper_wgmma", {0.0F}, {0x1p40F}, c), c);
  EXPECT_EQ(step("hopper_wgmma+zero_in_e", {0.0F}, {0x1p40F}, c), 0u);
}

TEST(UnitVariants, TheAlignmentMayHaveAFloor) {
  // 145 * 113 = 2^14 + 1 and 129 * 127 = 2^14 - 1: at 2^-164 the two add up to 2^-149, FP32's smallest. Aligned to
  // 2^-133 the grid is 2^-158, and the second loses what the sum needs.
  const std::vector<float> a{145 * 0x1p-82F, 129 * 0x1p-82F};
  const std::vector<float> b{113 * 0x1p-82F, 127 * 0x1p-82F};
  EXPECT_EQ(step("hopper_wgmma", a, b, 0), 1u);
  EXPECT_EQ(step("hopper_wgmma+clamped_e", a, b, 0), 0u);
  EXPECT_EQ(step("hopper_wgmma+zero_in_e+clamped_e", a, b, 0), 0u);
}

TEST(UnitFile, RefusalsNameFileAndKey) {
  const std::string row = "[[unit]]\nname = \"u\"\n[[unit.row]]\noperands = [\"f16\"]\n";
  EXPECT_NE(
      message_of(row + "fraction_bits = 36\nstep_k = 4\n").find("'unit[0].row[0].fraction_bits': found number 36"),
      std::string::npos);
  EXPECT_NE(message_of(row + "fraction_bits = 24\nstep_k = 65\n").find("step_k"), std::string::npos);
  EXPECT_NE(message_of(row + "fraction_bits = 24\nstep_k = 4\nroundin = 1\n").find("unknown key"), std::string::npos);
  EXPECT_NE(message_of(row + "fraction_bits = 24\nstep_k = 4\noutput_grid = \"f16\"\n").find("output_grid"),
            std::string::npos);
  EXPECT_NE(message_of("[[unit]]\nname = \"u\"\n[[unit.row]]\noperands = [\"f32\"]\nfraction_bits = 24\nstep_k = 4\n")
                .find("operands"),
            std::string::npos);
  EXPECT_NE(message_of(kHopperAgain).find("defines 2 units"), std::string::npos);
  EXPECT_NE(message_of(kHopperAgain, ":agian").find("did you mean 'again'"), std::string::npos);
  EXPECT_NE(message_of(kHopperAgain, ":exact+zero_in_e").find("does not truncate"), std::string::npos);
  EXPECT_NE(message_of("unit = []\n").find("unit"), std::string::npos);
  EXPECT_THROW((void)find_unit("hopper_wgmma+zero_in_f"), core::Error);
  EXPECT_THROW((void)find_unit("/no/such/file.toml"), core::Error);
}

}  // namespace
}  // namespace lastbit::io

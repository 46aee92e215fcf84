#include "numerics/units.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace lastbit::numerics {
namespace {

std::string message_of(const auto& call) {
  try {
    call();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  return "";
}

TEST(Units, EveryRowMakesARule) {
  EXPECT_EQ(units().size(), 10u);
  for (const Unit& unit : units())
    for (const UnitRow& row : unit.rows)
      for (const Format a : row.operands)
        for (const Format b : row.operands) {
          if (a != b && !row.mixed) continue;
          const MmaRule rule = rule_of(unit, a, b, row.d);
          EXPECT_EQ(rule.step_k, row.step_k);
          EXPECT_EQ(rule.fraction_bits, row.fraction_bits);
          EXPECT_GT(rule.step_k, 0);
          EXPECT_EQ(rule.step_k % 4, 0);
        }
}

TEST(Units, SuggestsNames) {
  EXPECT_NE(message_of([] { static_cast<void>(find_unit("hoper_wgmma")); }).find("'hopper_wgmma'"), std::string::npos);
  EXPECT_NE(message_of([] { static_cast<void>(find_unit("tpu")); }).find("volta_mma, turing_mma"), std::string::npos);
  const Unit& amd = find_unit("amd_cdna3_mfma");
  EXPECT_EQ(find_operand_type(amd, "bf8"), Format::kE5M2Fnuz);
  EXPECT_EQ(find_operand_type(amd, "e4m3fnuz"), Format::kE4M3Fnuz);
  EXPECT_FALSE(message_of([] { static_cast<void>(find_operand_type(find_unit("ada_mma"), "fp8")); }).empty());
}

TEST(Units, SayWhatTheyHave) {
  const std::string message = message_of(
      [] { static_cast<void>(rule_of(find_unit("volta_mma"), Format::kBF16, Format::kBF16, Format::kF32)); });
  EXPECT_EQ(message, "unit volta_mma has no bf16 x bf16 -> f32; it has: f16 -> f32; f16 -> f16");
  EXPECT_FALSE(message_of([] {
                 static_cast<void>(rule_of(find_unit("hopper_wgmma"), Format::kF16, Format::kBF16, Format::kF32));
               }).empty());
}

TEST(GemmPolicies, NameUnits) {
  EXPECT_EQ(find_gemm_policy("fp8-h800").operand, Format::kE4M3);
  EXPECT_EQ(find_gemm_policy("bf16-h800").unit, "hopper_wgmma");
  EXPECT_NE(message_of([] { static_cast<void>(find_gemm_policy("fp8-h80")); }).find("'fp8-h800'"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::numerics

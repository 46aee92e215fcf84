// The vectorised GEMM against the plain one: no bit may differ, on any instruction set.
#include <gtest/gtest.h>

#include "numerics/gemm_cases.h"
#include "numerics/units.h"

namespace lastbit::numerics::testing {
namespace {

MmaRule hopper(Format format) { return rule_of(find_unit("hopper_wgmma"), format, format, Format::kF32); }

TEST(GemmVector, SameBitsAsThePlainPathForEveryRuleAndFamily) {
  std::int64_t outputs = 0;
  for (const Kind& kind : kKinds) {
    const MmaRule rule = rule_of(find_unit(kind.unit), kind.a, kind.b, Format::kF32);
    for (const InputFamily family : check::input_families())
      for (const PromotionOrder order : {PromotionOrder::kNone, PromotionOrder::kDeepgemm})
        EXPECT_EQ(mismatches({rule, 7, 67, 160, family, {order, 128}}, outputs), 0)
            << kind.unit << " " << name(kind.a) << " " << name(kind.b) << " order " << static_cast<int>(order);
  }
}

TEST(GemmVector, SameBitsAroundEveryBlockSize) {
  std::int64_t outputs = 0;
  const MmaRule rule = hopper(Format::kE4M3);
  for (const std::int64_t m : {0, 1, 2, 3, 4, 5, 31, 33, 63, 64, 65})
    for (const std::int64_t n : {0, 1, 15, 16, 17, 63, 64, 65, 127, 129, 255, 256, 257})
      EXPECT_EQ(mismatches({rule, m, n, 40}, outputs), 0);
  for (const std::int64_t m : {79, 80, 81, 95, 96, 97, 160, 161, 192, 193})
    for (const std::int64_t n : {1, 65}) EXPECT_EQ(mismatches({rule, m, n, 40}, outputs), 0);
  for (const std::int64_t n : {511, 512, 513}) EXPECT_EQ(mismatches({rule, 13, n, 40}, outputs), 0);
  for (std::int64_t k = 0; k < 2 * 32 + 2; ++k) EXPECT_EQ(mismatches({rule, 5, 20, k}, outputs), 0);
  for (const std::int64_t k : {127, 128, 129, 255, 256, 257, 1000})
    for (const PromotionOrder order : {PromotionOrder::kDeepgemm, PromotionOrder::kCublas, PromotionOrder::kMuladd})
      for (const std::int64_t every : {32, 64, 128})
        EXPECT_EQ(mismatches({rule, 5, 20, k, InputFamily::kAllCodes, {order, every}}, outputs), 0);
}

TEST(GemmVector, SameBitsInEveryStorageOrder) {
  std::int64_t outputs = 0;
  for (const Format format : {Format::kE4M3, Format::kBF16})
    for (const bool a : {false, true})
      for (const bool b : {false, true})
        EXPECT_EQ(
            mismatches({hopper(format), 45, 70, 200, InputFamily::kAllCodes, {PromotionOrder::kDeepgemm, 128}, a, b},
                       outputs),
            0);
}

}  // namespace
}  // namespace lastbit::numerics::testing

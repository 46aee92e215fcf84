#include "numerics/block_scaled.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>

namespace lastbit::numerics {
namespace {

const BlockScaledRule& rule(std::string_view name) {
  for (const BlockScaledRule& candidate : block_scaled_rules())
    if (candidate.name == name) return candidate;
  throw std::runtime_error("no such rule");
}

struct Step {
  std::vector<std::byte> a = std::vector<std::byte>(64);
  std::vector<std::byte> b = std::vector<std::byte>(64);
  std::vector<std::uint8_t> scales_a;
  std::vector<std::uint8_t> scales_b;
  float c = 0;

  [[nodiscard]] std::uint32_t run(const BlockScaledRule& with) const {
    OperandPanel panel_a;
    OperandPanel panel_b;
    panel_a.assign({Format::kE2M1, 1, 64, a}, 0, 1, 0, 64, 64);
    panel_b.assign({Format::kE2M1, 1, 64, b}, 0, 1, 0, 64, 64);
    return block_scaled_step(with, panel_a.at(0, 0), panel_b.at(0, 0), scales_a, scales_b,
                             std::bit_cast<std::uint32_t>(c));
  }
  [[nodiscard]] float value(const BlockScaledRule& with) const { return std::bit_cast<float>(run(with)); }
};

constexpr std::byte kOne{2};        // 1.0 in E2M1
constexpr std::byte kHalf{1};       // 0.5
constexpr std::byte kSix{7};        // 6
constexpr std::byte kMinusSix{15};  // -6

TEST(BlockScaled, AddsSixtyFourProductsUnderScales) {
  Step step;
  step.a.assign(64, kOne);
  step.b.assign(64, kSix);
  step.scales_a = {127, 128};  // 1 and 2 in E8M0
  step.scales_b = {127, 126};  // 1 and 1/2
  step.c = 0.25F;
  EXPECT_EQ(step.value(rule("mxf4")), 64 * 6 + 0.25F);
  step.scales_a = {0x38, 0x3c, 0x38, 0xb8};  // 1, 1.5, 1 and 1 (the sign is ignored) in UE4M3
  step.scales_b = {0x38, 0x38, 0x30, 0x38};  // 1, 1, 0.5, 1
  EXPECT_EQ(step.value(rule("nvf4")), 16 * 6 * (1 + 1.5F + 0.5F + 1) + 0.25F);
}

TEST(BlockScaled, AlignsAtThirtyFiveBits) {
  Step step;
  step.scales_a = step.scales_b = {127, 127};
  step.a[0] = kSix, step.b[0] = kSix;
  step.a[63] = kHalf, step.b[63] = kHalf;  // the last group: 0.25
  EXPECT_EQ(step.value(rule("mxf4")), 36.25F);
  step.b[0] = kMinusSix;
  step.c = 36 * 0x1p17F;  // its exponent, 22, sets the grid to 2^-13
  step.scales_a = {127 + 17, 127 - 10};
  EXPECT_EQ(step.value(rule("mxf4")), 0x1p-12F);  // -36 * 2^17 + 0.25 * 2^-10 + c
  step.scales_a = {127 + 17, 127 - 12};
  EXPECT_EQ(step.value(rule("mxf4")), 0.0F);  // 2^-14 is cut
}

TEST(BlockScaled, NanAndInf) {
  Step step;
  step.a[0] = kOne, step.b[0] = kOne;
  step.scales_a = step.scales_b = {127, 255};
  EXPECT_EQ(step.run(rule("mxf4")), 0x7fffffffU);
  step.scales_a = step.scales_b = {127, 127};
  step.c = -INFINITY;
  EXPECT_EQ(step.run(rule("mxf4")), 0xff800000U);
  step.c = -0.0F;
  step.a[0] = std::byte{0};
  EXPECT_EQ(step.run(rule("mxf4")), 0U);
}

RC_GTEST_PROP(BlockScaledProperty, NothingIsCutAmongNearbyScales, ()) {
  Step step;
  double exact = 0;
  for (int i = 0; i < 4; ++i) {
    step.scales_a.push_back(static_cast<std::uint8_t>(*rc::gen::inRange(0x30, 0x48)));
    step.scales_b.push_back(static_cast<std::uint8_t>(*rc::gen::inRange(0x30, 0x48)));
  }
  for (std::size_t k = 0; k < 64; ++k) {
    step.a[k] = static_cast<std::byte>(*rc::gen::inRange(0, 16));
    step.b[k] = static_cast<std::byte>(*rc::gen::inRange(0, 16));
    const double scale = static_cast<double>(decode(step.scales_a[k / 16], Format::kE4M3)) *
                         static_cast<double>(decode(step.scales_b[k / 16], Format::kE4M3));
    exact += static_cast<double>(decode(static_cast<std::uint32_t>(step.a[k]), Format::kE2M1)) *
             static_cast<double>(decode(static_cast<std::uint32_t>(step.b[k]), Format::kE2M1)) * scale;
  }
  // Below 2^24 units of 2^-10: FP32 holds the sum, and truncation has nothing to cut.
  RC_ASSERT(static_cast<double>(step.value(rule("nvf4"))) == exact);
}

}  // namespace
}  // namespace lastbit::numerics

#include "numerics/exact_sum.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "core/error.h"
#include "support/int128.h"

namespace lastbit::numerics {
namespace {

double to_double(const ExactSum& sum) {
  const ExactMagnitude value = sum.magnitude();
  const double magnitude = std::ldexp(static_cast<double>(value.magnitude), value.exponent);
  return sum.is_negative() ? -magnitude : magnitude;
}

TEST(ExactSum, KeepsWhatFloatingPointLoses) {
  ExactSum sum;
  sum.add(1, 200);
  sum.add(1, -272);
  EXPECT_TRUE(sum.magnitude().sticky);
  sum.add(-1, 200);
  EXPECT_FALSE(sum.magnitude().sticky);
  EXPECT_EQ(to_double(sum), 0x1p-272);
  sum.add(-3, -272);
  EXPECT_TRUE(sum.is_negative());
  EXPECT_EQ(to_double(sum), -0x1p-271);
  sum.add(2, -272);
  EXPECT_TRUE(sum.is_zero());
}

TEST(ExactSum, RefusesTermsOutOfRange) {
  ExactSum sum;
  EXPECT_THROW(sum.add(1, -301), core::Error);
  EXPECT_THROW(sum.add(1, 300), core::Error);
}

RC_GTEST_PROP(ExactSumProperty, AgreesWith128Bits, ()) {
  ExactSum sum;
  testing::Int128 expected = 0;  // in units of 2^-40
  const int count = *rc::gen::inRange(0, 40);
  for (int i = 0; i < count; ++i) {
    const auto significand = *rc::gen::arbitrary<std::int32_t>();
    const int exponent = *rc::gen::inRange(-40, 40);
    sum.add(significand, exponent);
    expected += static_cast<testing::Int128>(significand) << (exponent + 40);
  }
  RC_ASSERT(sum.is_zero() == (expected == 0));
  RC_ASSERT(sum.is_negative() == (expected < 0));
  auto magnitude = static_cast<testing::Uint128>(expected < 0 ? -expected : expected);
  const ExactMagnitude value = sum.magnitude();
  if (magnitude == 0) return;
  bool sticky = false;
  int exponent = -40;
  while (magnitude >> 64 != 0) {
    sticky = sticky || (magnitude & 1) != 0;
    magnitude >>= 1;
    ++exponent;
  }
  while ((magnitude >> 63) == 0) {
    magnitude <<= 1;
    --exponent;
  }
  RC_ASSERT(value.magnitude == static_cast<std::uint64_t>(magnitude));
  RC_ASSERT(value.exponent == exponent);
  RC_ASSERT(value.sticky == sticky);
}

}  // namespace
}  // namespace lastbit::numerics

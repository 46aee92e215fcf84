#include "core/philox.h"

#include <gtest/gtest.h>

namespace lastbit::core {
namespace {

// The known-answer vectors published with Random123 (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, NamesTellStreamsApart) {
  const RandomStream base(7, "init", 3, 5);
  EXPECT_EQ(base.block(9), RandomStream(7, "init", 3, 5).block(9));
  EXPECT_NE(base.block(9), RandomStream(8, "init", 3, 5).block(9));
  EXPECT_NE(base.block(9), RandomStream(7, "data", 3, 5).block(9));
  EXPECT_NE(base.block(9), RandomStream(7, "init", 4, 5).block(9));
  EXPECT_NE(base.block(9), RandomStream(7, "init", 3, 6).block(9));
  EXPECT_EQ(base.word(38), base.block(9)[2]);
}

TEST(RandomStream, UniformFillsTheUnitInterval) {
  const RandomStream stream(1, "uniform");
  double sum = 0;
  for (std::uint64_t i = 0; i < 10000; ++i) {
    const float value = stream.uniform(i);
    ASSERT_GE(value, 0.0f);
    ASSERT_LT(value, 1.0f);
    sum += static_cast<double>(value);
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.015);  // five standard deviations of the mean: 5 / sqrt(12 * 10000)
}

}  // namespace
}  // namespace lastbit::core

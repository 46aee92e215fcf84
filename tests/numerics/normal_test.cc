#include "numerics/normal.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace lastbit::numerics {
namespace {

// Bits computed with 200-bit arithmetic (mpmath) from the definition in normal.h.
TEST(Normal, BitsByDefinition) {
  std::vector<float> values(1048576);
  fill_normal(core::RandomStream(1, "init.model.embed_tokens.weight"), 0.02, values);
  const std::vector<std::uint32_t> first = {0x3d8a5005, 0x3be5d4fa, 0x3c15cdfa, 0x3cc684ae};
  const std::vector<std::uint32_t> last = {0xbd52fc99, 0x3cc2df58, 0x3c3c8c69, 0x3b05a277};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(values[i]), first[i]);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(values[values.size() - 4 + i]), last[i]);
  }
}

TEST(Normal, MomentsAndTails) {
  std::vector<float> values(400000);
  fill_normal(core::RandomStream(2, "moments"), 2.0, values);
  double mean = 0;
  double square = 0;
  double beyond_two_sigma = 0;
  for (const float value : values) {
    mean += static_cast<double>(value);
    square += static_cast<double>(value) * static_cast<double>(value);
    beyond_two_sigma += std::abs(value) > 4 ? 1 : 0;
  }
  const auto count = static_cast<double>(values.size());
  EXPECT_NEAR(mean / count, 0, 5 * 2 / std::sqrt(count));
  EXPECT_NEAR(square / count, 4, 5 * 4 * std::sqrt(2 / count));
  EXPECT_NEAR(beyond_two_sigma / count, 0.0455, 0.0017);  // five deviations of a binomial count
}

TEST(Normal, AShorterFillIsAPrefix) {
  std::vector<float> many(1001);
  std::vector<float> few(10);
  fill_normal(core::RandomStream(3, "prefix"), 1.0, many);
  fill_normal(core::RandomStream(3, "prefix"), 1.0, few);
  for (std::size_t i = 0; i < few.size(); ++i) EXPECT_EQ(few[i], many[i]);
}

}  // namespace
}  // namespace lastbit::numerics

#include "numerics/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/philox.h"

namespace lastbit::numerics {
namespace {

std::vector<float> random_values(std::int64_t count, const char* purpose) {
  const core::RandomStream stream(3, purpose);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = (stream.uniform(i) - 0.5F) * std::ldexp(1.0F, static_cast<int>(i % 20));
  return values;
}

// The documented order, written the slow way: eight separate passes, then the tree.
float dot_by_definition(const std::vector<float>& x, const std::vector<float>& y) {
  std::vector<float> lane(8, 0.0F);
  for (std::size_t l = 0; l < 8; ++l)
    for (std::size_t i = l; i < x.size(); i += 8) lane[l] = lane[l] + x[i] * y[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

TEST(Reduce, FollowsTheDocumentedOrderForEveryLength) {
  for (std::int64_t count = 0; count < 70; ++count) {
    const std::vector<float> x = random_values(count, "x");
    const std::vector<float> y = random_values(count, "y");
    const std::vector<float> ones(x.size(), 1.0F);
    EXPECT_EQ(dot(x.data(), y.data(), count), dot_by_definition(x, y)) << count;
    EXPECT_EQ(sum(x.data(), count), dot_by_definition(x, ones)) << count;
    EXPECT_EQ(sum_of_squares(x.data(), count), dot_by_definition(x, x)) << count;
  }
}

TEST(Reduce, OrderIsNotThatOfAPlainLoop) {  // so that the test above tells orders apart
  const std::vector<float> x = random_values(64, "x");
  float plain = 0;
  for (const float value : x) plain += value;
  EXPECT_NE(sum(x.data(), 64), plain);
}

}  // namespace
}  // namespace lastbit::numerics

#include "numerics/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/philox.h"

namespace lastbit::numerics {
namespace {

template <typename T>
std::vector<T> random_values(std::int64_t count, const char* purpose) {
  const core::RandomStream stream(3, purpose);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = std::ldexp(static_cast<T>(stream.uniform(i)) - T(0.5), static_cast<int>(i % 20)) / T(3);
  return values;
}

// The documented order, written the slow way: eight separate passes, then the tree.
template <typename T>
T dot_by_definition(const std::vector<T>& x, const std::vector<T>& y) {
  std::vector<T> lane(8, T(0));
  for (std::size_t l = 0; l < 8; ++l)
    for (std::size_t i = l; i < x.size(); i += 8) lane[l] = lane[l] + x[i] * y[i];
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

template <typename T>
void expect_documented_order() {
  for (std::int64_t count = 0; count < 70; ++count) {
    const std::vector<T> x = random_values<T>(count, "x");
    const std::vector<T> y = random_values<T>(count, "y");
    const std::vector<T> ones(x.size(), T(1));
    EXPECT_EQ(dot(x.data(), y.data(), count), dot_by_definition(x, y)) << count;
    EXPECT_EQ(sum(x.data(), count), dot_by_definition(x, ones)) << count;
    EXPECT_EQ(sum_of_squares(x.data(), count), dot_by_definition(x, x)) << count;
  }
}

TEST(Reduce, FollowsTheDocumentedOrderForEveryLength) {
  expect_documented_order<float>();
  expect_documented_order<double>();
}

template <typename T>
T plain_sum(const std::vector<T>& x) {
  T plain = 0;
  for (const T value : x) plain += value;
  return plain;
}

TEST(Reduce, OrderIsNotThatOfAPlainLoop) {  // so that the test above tells orders apart
  const std::vector<float> x = random_values<float>(64, "x");
  EXPECT_NE(sum(x.data(), 64), plain_sum(x));
  const std::vector<double> wide = random_values<double>(64, "x");
  EXPECT_NE(sum(wide.data(), 64), plain_sum(wide));
}

}  // namespace
}  // namespace lastbit::numerics

#include "numerics/elementary_array.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "numerics/elementary.h"
#include "numerics/vector_target.h"

namespace lastbit::numerics {
namespace {

struct Function {
  const char* name;
  float (*scalar)(float);
  void (*array)(std::span<const float>, std::span<float>);
};

const std::array<Function, 3> kFunctions = {{{"exp", exp, exp}, {"sigmoid", sigmoid, sigmoid}, {"silu", silu, silu}}};

template <typename Body>
void on_every_target(const Body& body) {
  for (const std::string& target : vector_targets()) {
    use_vector_target(target);
    body();
  }
  use_vector_target("");
}

// Patterns of bits over all floats, NaNs and subnormals included, and every float next to where a function changes its
// course.
std::vector<float> arguments() {
  std::vector<float> values;
  values.reserve(9000000);
  constexpr std::uint64_t kStep = 997;  // a prime: all low bits take part
  for (std::uint64_t bits = 0; bits <= 0xFFFFFFFFu; bits += kStep)
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float edge : {0.0F, kInf, 0x1p-126F, 0x1p-149F, 88.72284F, 87.33655F, 103.972F, 104.0F, 200.0F, 709.8F,
                           745.2F, 0.34657359F, 16.6355F, 1.0F}) {
    for (const float sign : {1.0F, -1.0F}) {
      const auto bits = std::bit_cast<std::uint32_t>(sign * edge);
      for (std::uint32_t i = 0; i < 129; ++i) values.push_back(std::bit_cast<float>(bits + i - 64));
    }
  }
  return values;
}

TEST(ElementaryArray, EveryElementHasTheBitsOfTheScalarFunction) {
  const std::vector<float> x = arguments();
  std::vector<float> y(x.size());
  for (const Function& function : kFunctions) {
    std::vector<std::uint32_t> expected;
    expected.reserve(x.size());
    for (const float value : x) expected.push_back(std::bit_cast<std::uint32_t>(function.scalar(value)));
    on_every_target([&] {
      function.array(x, y);
      std::int64_t wrong = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (std::bit_cast<std::uint32_t>(y[i]) == expected[i]) continue;
        if (wrong++ == 0) ADD_FAILURE() << function.name << " of " << x[i] << " on " << vector_target();
      }
      EXPECT_EQ(wrong, 0) << function.name << " on " << vector_target();
    });
  }
}

TEST(ElementaryArray, EveryLengthInPlaceAndNothingBeyond) {
  on_every_target([] {
    for (const Function& function : kFunctions)
      for (std::size_t count = 0; count < 40; ++count) {
        std::vector<float> values(count + 1, 77.0F);
        for (std::size_t i = 0; i < count; ++i) values[i] = 0.37F * static_cast<float>(i) - 3;
        const std::vector<float> before = values;
        function.array(std::span(values).first(count), std::span(values).first(count));
        for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(values[i], function.scalar(before[i])) << function.name;
        EXPECT_EQ(values[count], 77.0F);
      }
  });
}

TEST(ElementaryArray, Doubles) {
  const std::vector<double> x = {-1e300, -801, -799, -3.5, -0.0, 0.0, 0.25, 10, 720, 1e300};
  std::vector<double> y(x.size());
  exp(x, y);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], exp(x[i]));
  sigmoid(x, y);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], sigmoid(x[i]));
  silu(x, y);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], silu(x[i]));
}

TEST(ElementaryArray, RefusesArraysOfDifferentLengths) {
  std::vector<float> x(3);
  std::vector<float> y(4);
  EXPECT_THROW(exp(x, y), core::Error);
}

}  // namespace
}  // namespace lastbit::numerics

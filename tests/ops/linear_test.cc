#include "ops/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "numerics/reduce.h"
#include "ops/embedding.h"
#include "ops/rms_norm.h"
#include "ops/swiglu.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

TEST(Linear, IsOneFixedOrderDotAnOutput) {
  for (const std::int64_t in : {1, 7, 40}) {
    const Tensor x = random_tensor("x", {2, 19, in});
    const Tensor weight = random_tensor("w", {35, in});
    const Tensor bias = random_tensor("b", {35});
    const Tensor y = linear(x, weight, {}, &bias);
    ASSERT_EQ(y.shape(), (tensor::Shape{2, 19, 35}));
    for (std::int64_t r = 0; r < 38; ++r)
      for (std::int64_t o = 0; o < 35; ++o)
        EXPECT_EQ(
            at(y, r * 35 + o),
            numerics::dot(x.values<float>().data() + r * in, weight.values<float>().data() + o * in, in) + at(bias, o));
  }
}

TEST(Linear, RowsDoNotSeeEachOther) {
  const Tensor x = random_tensor("x", {50, 33});
  const Tensor weight = random_tensor("w", {70, 33});
  const Tensor all = linear(x, weight, {});
  const Tensor some = linear(x.slice(0, 17, 20), weight, {});
  const Tensor same = all.slice(0, 17, 20).contiguous();
  EXPECT_TRUE(std::ranges::equal(some.values<float>(), same.values<float>()));
}

TEST(Linear, RefusesShapesThatDoNotMeet) {
  EXPECT_THROW(static_cast<void>(linear(random_tensor("x", {2, 3}), random_tensor("w", {4, 5}), {})), core::Error);
}

TEST(RmsNorm, AgreesWithDouble) {
  const Tensor x = random_tensor("x", {5, 37});
  const Tensor weight = random_tensor("w", {37});
  const Tensor y = rms_norm(x, weight, 1e-3);
  for (std::int64_t r = 0; r < 5; ++r) {
    double squares = 0;
    for (std::int64_t i = 0; i < 37; ++i) squares += std::pow(static_cast<double>(at(x, r * 37 + i)), 2);
    for (std::int64_t i = 0; i < 37; ++i) {
      const double expected =
          static_cast<double>(at(weight, i)) * static_cast<double>(at(x, r * 37 + i)) / std::sqrt(squares / 37 + 1e-3);
      EXPECT_NEAR(static_cast<double>(at(y, r * 37 + i)), expected, 4e-7);
    }
  }
}

TEST(Swiglu, AgreesWithDouble) {
  const Tensor gate = random_tensor("gate", {4, 9});
  const Tensor up = random_tensor("up", {4, 9});
  const Tensor y = swiglu(gate, up);
  for (std::int64_t i = 0; i < 36; ++i) {
    const auto g = static_cast<double>(at(gate, i));
    EXPECT_NEAR(static_cast<double>(at(y, i)), g / (1 + std::exp(-g)) * static_cast<double>(at(up, i)), 1e-7);
  }
}

TEST(Embedding, PicksRows) {
  const Tensor table = random_tensor("table", {6, 3});
  const std::vector<std::int64_t> ids = {5, 0, 5, 2};
  const Tensor rows = embedding(Tensor::from<std::int64_t>({2, 2}, ids), table);
  ASSERT_EQ(rows.shape(), (tensor::Shape{2, 2, 3}));
  for (std::int64_t i = 0; i < 12; ++i)
    EXPECT_EQ(at(rows, i), at(table, ids[static_cast<std::size_t>(i / 3)] * 3 + i % 3));
  const std::vector<std::int64_t> outside = {6};
  EXPECT_THROW(static_cast<void>(embedding(Tensor::from<std::int64_t>({1}, outside), table)), core::Error);
}

}  // namespace
}  // namespace lastbit::ops

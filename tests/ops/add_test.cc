#include "ops/add.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"
#include "operator_checks.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

TEST(Add, AddsElementByElement) {
  const Tensor a = random_tensor("a", {3, 5});
  const Tensor b = random_tensor("b", {3, 5});
  const Tensor sum = add(a, b);
  Tensor target = a.clone();
  accumulate(target, b);
  for (std::int64_t i = 0; i < 15; ++i) EXPECT_EQ(at(sum, i), at(a, i) + at(b, i));
  EXPECT_TRUE(same_bits(target, sum));

  const Tensor c = random_f64("c", {4});
  const Tensor twice = add(c, c);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(twice.values<double>()[i], 2 * c.values<double>()[i]);
}

TEST(Add, ThreadsChangeNoBit) {
  expect_threads_change_no_bit([] {
    Tensor target = random_tensor("a", {50000});
    accumulate(target, random_tensor("b", {50000}));
    return std::vector<Tensor>{target, add(random_tensor("a", {50000}), random_tensor("b", {50000}))};
  });
}

TEST(Add, RefusesShapesAndTypesThatDoNotMeet) {
  Tensor a = random_tensor("a", {2});
  EXPECT_THROW(static_cast<void>(add(a, random_tensor("b", {3}))), core::Error);
  EXPECT_THROW(accumulate(a, random_f64("b", {2})), core::Error);
  const Tensor ids = Tensor::zeros(tensor::DType::kI64, {2});
  EXPECT_THROW(static_cast<void>(add(ids, ids)), core::Error);
}

}  // namespace
}  // namespace lastbit::ops

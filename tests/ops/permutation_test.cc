#include "ops/permutation.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"
#include "core/philox.h"
#include "numerics/reduce.h"
#include "operator_checks.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;
using Indices = std::vector<std::int64_t>;

Tensor routing_of(const tensor::Shape& shape, const Indices& experts) {
  return Tensor::from<std::int64_t>(shape, experts);
}

// top_k ascending experts a token, each place left unused (-1) one time in four.
Tensor random_routing(std::int64_t tokens, std::int64_t top_k, std::int64_t experts) {
  const core::RandomStream stream(5, "routing");
  Indices slots;
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::int64_t expert = -1;
    for (std::int64_t place = 0; place < top_k; ++place) {
      const std::uint32_t word = stream.word(static_cast<std::uint64_t>(t * top_k + place));
      const std::int64_t room = experts - expert - (top_k - place);  // so that the later places find experts
      expert += 1 + static_cast<std::int64_t>(word >> 8) % room;
      slots.push_back(word % 4 == 0 ? -1 : expert);
    }
  }
  return routing_of({tokens, top_k}, slots);
}

TEST(Permutation, OrdersSlotsByExpertThenToken) {
  const ExpertPermutation p = expert_permutation(routing_of({4, 2}, {1, 3, -1, 1, 0, 3, -1, -1}), 5);
  EXPECT_EQ(p.offsets, (Indices{0, 1, 3, 3, 5, 5}));  // experts 2 and 4 are empty
  EXPECT_EQ(p.slot_of_row, (Indices{4, 0, 3, 1, 5}));
  EXPECT_EQ(p.row_of_slot, (Indices{1, 3, -1, 2, 0, 4, -1, -1}));
  EXPECT_EQ(p.rows(), 5);
  EXPECT_EQ(p.experts(), 5);
}

TEST(Permutation, AllTokensToOneExpertKeepTheirOrder) {
  const ExpertPermutation p = expert_permutation(routing_of({3, 1}, {2, 2, 2}), 4);
  EXPECT_EQ(p.offsets, (Indices{0, 0, 0, 3, 3}));
  const Tensor x = random_tensor("x", {3, 4});
  EXPECT_TRUE(same_bits(dispatch(x, p), x));
  EXPECT_TRUE(same_bits(dispatch_backward(x, p), x));
}

TEST(Permutation, NoTokensAndNoUsedSlots) {
  const ExpertPermutation none = expert_permutation(routing_of({0, 2}, {}), 3);
  EXPECT_EQ(none.offsets, (Indices{0, 0, 0, 0}));
  EXPECT_EQ(dispatch(Tensor::empty(tensor::DType::kF32, {0, 4}), none).shape(), (tensor::Shape{0, 4}));
  const ExpertPermutation unused = expert_permutation(routing_of({2, 1}, {-1, -1}), 3);
  const Tensor rows = dispatch(random_tensor("x", {2, 4}), unused);
  EXPECT_EQ(rows.shape(), (tensor::Shape{0, 4}));
  const Tensor y = combine(rows, random_tensor("w", {2, 1}), unused);
  EXPECT_TRUE(same_bits(y, Tensor::zeros(tensor::DType::kF32, {2, 4})));
}

TEST(Permutation, FollowsTheDocumentedRounding) {
  constexpr std::int64_t kTokens = 23;
  constexpr std::int64_t kTopK = 3;
  constexpr std::int64_t kDim = 11;
  const Tensor routing = random_routing(kTokens, kTopK, 6);
  const ExpertPermutation p = expert_permutation(routing, 6);
  const Tensor x = random_tensor("x", {kTokens, kDim});
  const Tensor weights = random_tensor("w", {kTokens, kTopK});
  const Tensor outputs = random_tensor("y", {p.rows(), kDim});
  const Tensor rows = dispatch(x, p);
  const Tensor y = combine(outputs, weights, p);
  const Tensor dx = dispatch_backward(outputs, p);
  const auto [doutputs, dweights] = combine_backward(x, outputs, weights, p);
  for (std::int64_t t = 0; t < kTokens; ++t) {
    std::vector<float> sum(kDim, 0.0F);
    std::vector<float> plain(kDim, 0.0F);
    for (std::int64_t slot = t * kTopK; slot < (t + 1) * kTopK; ++slot) {
      const std::int64_t row = p.row_of_slot[static_cast<std::size_t>(slot)];
      if (row < 0) {
        EXPECT_EQ(at(dweights, slot), 0.0F);
        continue;
      }
      EXPECT_EQ(at(dweights, slot),
                numerics::dot(x.values<float>().data() + t * kDim, outputs.values<float>().data() + row * kDim, kDim));
      for (std::int64_t i = 0; i < kDim; ++i) {
        EXPECT_EQ(at(rows, row * kDim + i), at(x, t * kDim + i));
        EXPECT_EQ(at(doutputs, row * kDim + i), at(weights, slot) * at(x, t * kDim + i));
        const float product = at(weights, slot) * at(outputs, row * kDim + i);
        sum[static_cast<std::size_t>(i)] += product;
        plain[static_cast<std::size_t>(i)] += at(outputs, row * kDim + i);
      }
    }
    for (std::int64_t i = 0; i < kDim; ++i) {
      EXPECT_EQ(at(y, t * kDim + i), sum[static_cast<std::size_t>(i)]);
      EXPECT_EQ(at(dx, t * kDim + i), plain[static_cast<std::size_t>(i)]);
    }
  }
}

TEST(Permutation, GradientsAreThoseOfDifferences) {
  for (const std::int64_t tokens : {0, 1, 6}) {
    const ExpertPermutation p = expert_permutation(random_routing(tokens, 2, 4), 4);
    const Tensor x = random_f64("x", {tokens, 3});
    const Tensor drows = random_f64("drows", {p.rows(), 3});
    expect_gradient(
        dispatch_backward(drows, p), x, [&](const Tensor& moved) { return inner(dispatch(moved, p), drows); }, "x");
    const Tensor outputs = random_f64("y", {p.rows(), 3});
    const Tensor weights = random_f64("w", {tokens, 2});
    const Tensor dy = random_f64("dy", {tokens, 3});
    const auto [doutputs, dweights] = combine_backward(dy, outputs, weights, p);
    expect_gradient(
        doutputs, outputs, [&](const Tensor& moved) { return inner(combine(moved, weights, p), dy); }, "outputs");
    expect_gradient(
        dweights, weights, [&](const Tensor& moved) { return inner(combine(outputs, moved, p), dy); }, "weights");
  }
}

TEST(Permutation, ThreadsChangeNoBit) {
  expect_threads_change_no_bit([] {
    const ExpertPermutation p = expert_permutation(random_routing(500, 4, 9), 9);
    const Tensor x = random_tensor("x", {500, 200});
    const Tensor weights = random_tensor("w", {500, 4});
    const Tensor rows = dispatch(x, p);
    const auto [doutputs, dweights] = combine_backward(x, rows, weights, p);
    return std::vector<Tensor>{rows, combine(rows, weights, p), dispatch_backward(rows, p), doutputs, dweights};
  });
}

TEST(Permutation, RefusesWhatIsNoRouting) {
  for (const Indices& experts : {Indices{0, 4}, Indices{-2, 1}, Indices{2, 1}, Indices{1, 1}})
    EXPECT_THROW(static_cast<void>(expert_permutation(routing_of({1, 2}, experts), 4)), core::Error);
  const ExpertPermutation p = expert_permutation(routing_of({2, 1}, {0, 1}), 4);
  EXPECT_THROW(static_cast<void>(dispatch(random_tensor("x", {3, 4}), p)), core::Error);
  const Tensor rows = random_tensor("y", {2, 4});
  EXPECT_THROW(static_cast<void>(combine(rows, random_tensor("w", {2, 2}), p)), core::Error);
  EXPECT_THROW(static_cast<void>(combine(rows, random_f64("w", {2, 1}), p)), core::Error);
}

}  // namespace
}  // namespace lastbit::ops

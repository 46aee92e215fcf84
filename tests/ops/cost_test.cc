#include "ops/cost.h"

#include <gtest/gtest.h>

namespace lastbit::ops {
namespace {

void expect_cost(const Cost& cost, double flops, double bytes_read, double bytes_written) {
  EXPECT_EQ(cost.flops, flops);
  EXPECT_EQ(cost.bytes_read, bytes_read);
  EXPECT_EQ(cost.bytes_written, bytes_written);
}

// Counted by hand for 3 tokens of width 10 in 2-byte elements.
TEST(Cost, OfOperatorsThatMemoryBounds) {
  expect_cost(add_cost(30, 2), 30, 120, 60);
  expect_cost(embedding_cost(3, 10, 2), 0, 60 + 24, 60);
  expect_cost(embedding_backward_cost(3, 10, 2), 30, 120 + 24, 60);
  expect_cost(rms_norm_cost(3, 10, 2), 120, 60 + 20, 60);
  expect_cost(rms_norm_backward_cost(3, 10, 2), 330, 120 + 40, 60 + 20);
  expect_cost(swiglu_cost(3, 10, 2), 120, 120, 60);
  expect_cost(swiglu_backward_cost(3, 10, 2), 360, 180, 120);
  // 2 heads of 10: five pairs of six operations each; cos and sin of five pairs a token.
  expect_cost(rope_cost(3, 2, 10, 2), 3 * 2 * 5 * 6, 120 + 3 * 10 * 2, 120);
  expect_cost(cross_entropy_cost(3, 10, 4), 120, 120 + 24, 48);
  expect_cost(cross_entropy_backward_cost(3, 10, 4), 90, 120 + 24, 120);
}

// 3 tokens, 5 used slots.
TEST(Cost, OfDispatchAndCombine) {
  expect_cost(dispatch_cost(3, 5, 10, 2), 0, 60 + 40, 100);
  expect_cost(dispatch_backward_cost(3, 5, 10, 2), 50, 100 + 40, 60);
  expect_cost(combine_cost(3, 5, 10, 2), 100, 100 + 10 + 40, 60);
  expect_cost(combine_backward_cost(3, 5, 10, 2), 150, 60 + 100 + 10 + 40, 100 + 10);
}

}  // namespace
}  // namespace lastbit::ops

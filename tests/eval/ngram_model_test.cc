#include "eval/ngram_model.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"

namespace lastbit::eval {
namespace {

using Tokens = std::vector<std::int64_t>;

TEST(NgramModel, IsADistributionAfterEveryContext) {
  NgramModel model(3, 5);
  model.add(Tokens{0, 1, 2, 0, 1, 3, 0, 1, 2, 4});
  for (const Tokens& context : {Tokens{}, Tokens{0}, Tokens{0, 1}, Tokens{4, 4}, Tokens{2, 0, 1}}) {
    double sum = 0;
    for (std::int64_t token = 0; token < 5; ++token) {
      Tokens all = context;
      all.push_back(token);
      sum += std::exp(-model.nll(all, context.size()));
    }
    EXPECT_NEAR(sum, 1, 1e-12);
  }
}

// By hand, a bigram model of 0 1 0 2 0 1 over three tokens, D = 0.75. After 0: 1 twice, 2 once. Different tokens
// before: 0 after start, 1 and 2: the start counts 0 once, 1->0 and 2->0: 3; before 1: one; before 2: one. So P1(1) =
// (1 - 0.75) / 5 + 0.75 * 3 / 5 / 3 = 0.2, P(1 | 0) = (2 - 0.75) / 3 + 0.75 * 2 / 3 * 0.2.
TEST(NgramModel, InterpolatesAsWorkedByHand) {
  NgramModel model(2, 3);
  model.add(Tokens{0, 1, 0, 2, 0, 1});
  EXPECT_NEAR(std::exp(-model.nll(Tokens{0, 1}, 1)), 1.25 / 3 + 0.5 * 0.2, 1e-12);
}

TEST(NgramModel, RefusesOrdersAndDiscountsOutOfRange) {
  EXPECT_THROW(NgramModel(0, 5), core::Error);
  EXPECT_THROW(NgramModel(5, 5, 1.0), core::Error);
}

}  // namespace
}  // namespace lastbit::eval

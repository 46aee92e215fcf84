#include "ops/attention_core.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

struct Operands {
  Tensor q = random_tensor("q", {2, 13, 4, 6});
  Tensor k = random_tensor("k", {2, 13, 2, 6});
  Tensor v = random_tensor("v", {2, 13, 2, 5});
};

TEST(AttentionCore, AgreesWithDouble) {
  const Operands in;
  const Tensor out = attention_core(in.q, in.k, in.v, 0.7, {});
  ASSERT_EQ(out.shape(), (tensor::Shape{2, 13, 4, 5}));
  for (std::int64_t b = 0; b < 2; ++b) {
    for (std::int64_t t = 0; t < 13; ++t) {
      for (std::int64_t h = 0; h < 4; ++h) {
        std::vector<double> weight(static_cast<std::size_t>(t + 1));
        double total = 0;
        for (std::int64_t j = 0; j <= t; ++j) {
          double score = 0;
          for (std::int64_t i = 0; i < 6; ++i)
            score += static_cast<double>(at(in.q, ((b * 13 + t) * 4 + h) * 6 + i)) *
                     static_cast<double>(at(in.k, ((b * 13 + j) * 2 + h / 2) * 6 + i));
          total += weight[static_cast<std::size_t>(j)] = std::exp(0.7 * score);
        }
        for (std::int64_t i = 0; i < 5; ++i) {
          double expected = 0;
          for (std::int64_t j = 0; j <= t; ++j)
            expected += weight[static_cast<std::size_t>(j)] / total *
                        static_cast<double>(at(in.v, ((b * 13 + j) * 2 + h / 2) * 5 + i));
          EXPECT_NEAR(static_cast<double>(at(out, ((b * 13 + t) * 4 + h) * 5 + i)), expected, 5e-7);
        }
      }
    }
  }
}

TEST(AttentionCore, NeitherLaterTokensNorOtherSequencesChangeABit) {
  const Operands in;
  const Tensor all = attention_core(in.q, in.k, in.v, 0.7, {});
  const auto first_tokens = [](const Tensor& x) { return x.slice(0, 1, 2).slice(1, 0, 7).contiguous(); };
  const Tensor some = attention_core(first_tokens(in.q), first_tokens(in.k), first_tokens(in.v), 0.7, {});
  EXPECT_TRUE(std::ranges::equal(some.values<float>(), first_tokens(all).values<float>()));
}

TEST(AttentionCore, LargeScoresDoNotOverflow) {
  const std::vector<float> big = {300, 300};
  const std::vector<float> values = {1, 2};
  const Tensor out = attention_core(Tensor::from<float>({1, 2, 1, 1}, big), Tensor::from<float>({1, 2, 1, 1}, big),
                                    Tensor::from<float>({1, 2, 1, 1}, values), 1, {});
  EXPECT_EQ(at(out, 0), 1.0F);
  EXPECT_EQ(at(out, 1), 1.5F);
}

}  // namespace
}  // namespace lastbit::ops

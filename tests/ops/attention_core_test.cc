#include "ops/attention_core.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "attention_cases.h"
#include "core/error.h"
#include "core/parallel.h"
#include "numerics/format.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

template <typename T>
class AttentionCore : public testing::Test {};
using Dtypes = testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionCore, Dtypes);

void expect_same(const AttentionResult& a, const AttentionResult& b, const std::string& name) {
  EXPECT_TRUE(same_bits(a.out, b.out)) << name;
  EXPECT_TRUE(same_bits(a.log_sum_exp, b.log_sum_exp)) << name;
}

TYPED_TEST(AttentionCore, BlocksGiveTheBitsOfScalarLoops) {
  for (const AttentionCase& c : attention_cases()) {
    const AttentionOperands<TypeParam> in(c);
    for (const double scale : {0.7, 30.0})
      expect_same(attention_core(in.q, in.k, in.v, scale, in.mask()),
                  attention_core_plain(in.q, in.k, in.v, scale, in.mask()), c.name);
  }
}

// Softmax as in a textbook, in double, of one query and head.
struct Textbook {
  std::vector<double> out;
  double log_sum_exp;
};

template <typename T>
Textbook textbook(const AttentionCase& c, const AttentionOperands<T>& in, double scale, std::int64_t b, std::int64_t t,
                  std::int64_t h) {
  const auto value = [](const Tensor& x, std::int64_t i) {
    return static_cast<double>(x.values<T>()[static_cast<std::size_t>(i)]);
  };
  std::int64_t begin = 0;
  std::int64_t end = c.keys;
  if (in.packed) begin = in.first_key.template values<std::int64_t>()[static_cast<std::size_t>(b * c.queries + t)];
  if (in.packed) end = in.end_key.template values<std::int64_t>()[static_cast<std::size_t>(b * c.queries + t)];
  if (c.causal) end = c.past + t + 1;
  const std::int64_t kv_head = h / (c.heads / c.kv_heads);
  Textbook result{std::vector<double>(static_cast<std::size_t>(c.v_dim)), 0};
  double total = 0;
  for (std::int64_t j = begin; j < end; ++j) {
    const std::int64_t key = (b * c.keys + j) * c.kv_heads + kv_head;
    double score = 0;
    for (std::int64_t i = 0; i < c.qk_dim; ++i)
      score += value(in.q, ((b * c.queries + t) * c.heads + h) * c.qk_dim + i) * value(in.k, key * c.qk_dim + i);
    const double weight = std::exp(scale * score);
    total += weight;
    for (std::int64_t i = 0; i < c.v_dim; ++i)
      result.out[static_cast<std::size_t>(i)] += weight * value(in.v, key * c.v_dim + i);
  }
  for (double& x : result.out) x /= total;
  result.log_sum_exp = std::log(total);
  return result;
}

// For query 129 the sum of the first block is rescaled to -0 and that of the second is -0, which a product of the
// masked value 1 and weight 0 would make +0.
TYPED_TEST(AttentionCore, MaskedValuesDoNotChangeTheSignOfAZero) {
  constexpr TypeParam kTiny = std::numeric_limits<TypeParam>::denorm_min();
  const tensor::Shape shape = {1, 131, 1, 1};
  const Tensor q = Tensor::from<TypeParam>(shape, std::vector<TypeParam>(131, 1));
  std::vector<TypeParam> keys(131, 0);
  keys[128] = 1;
  keys[129] = static_cast<TypeParam>(0.99);
  std::vector<TypeParam> values(131, -kTiny);
  values[128] = -TypeParam{0};
  values[130] = 1;
  const Tensor k = Tensor::from<TypeParam>(shape, keys);
  const Tensor v = Tensor::from<TypeParam>(shape, values);
  const AttentionResult result = attention_core(q, k, v, 100);
  expect_same(result, attention_core_plain(q, k, v, 100), "zeros");
  EXPECT_EQ(result.out.values<TypeParam>()[129], 0);
  EXPECT_FALSE(std::signbit(result.out.values<TypeParam>()[129]));
}

TYPED_TEST(AttentionCore, AgreesWithATextbook) {
  // Values below 1 and scores below 0.1 * 576: relative errors of a few hundred roundings, most of them in the scores.
  const double tolerance = 200 * static_cast<double>(std::numeric_limits<TypeParam>::epsilon());
  for (const AttentionCase& c : attention_cases()) {
    const AttentionOperands<TypeParam> in(c);
    const AttentionResult result = attention_core(in.q, in.k, in.v, 0.1, in.mask());
    ASSERT_EQ(result.out.shape(), (tensor::Shape{c.batch, c.queries, c.heads, c.v_dim}));
    ASSERT_EQ(result.log_sum_exp.shape(), (tensor::Shape{c.batch, c.queries, c.heads}));
    std::size_t i = 0;
    for (std::int64_t row = 0; row < c.batch * c.queries * c.heads; ++row) {
      const Textbook expected =
          textbook(c, in, 0.1, row / c.heads / c.queries, row / c.heads % c.queries, row % c.heads);
      EXPECT_NEAR(static_cast<double>(result.log_sum_exp.values<TypeParam>()[static_cast<std::size_t>(row)]),
                  expected.log_sum_exp, tolerance)
          << c.name;
      for (const double x : expected.out)
        EXPECT_NEAR(static_cast<double>(result.out.values<TypeParam>()[i++]), x, tolerance) << c.name;
    }
  }
}

TYPED_TEST(AttentionCore, APrefillInPiecesGivesTheBitsOfTheWhole) {
  const AttentionCase c{"", 2, 290, 290, 4, 2, 6, 5};
  const AttentionOperands<TypeParam> in(c);
  const Tensor all = attention_core(in.q, in.k, in.v, 0.7).out;
  for (const std::int64_t cut : {1, 127, 128, 200, 289}) {
    for (std::int64_t b = 0; b < 2; ++b) {
      const auto piece = [&](std::int64_t begin, std::int64_t end) {
        return attention_core(tokens(in.q, b, begin, end), tokens(in.k, b, 0, end), tokens(in.v, b, 0, end), 0.7,
                              {.past = begin})
            .out;
      };
      EXPECT_TRUE(same_bits(piece(0, cut), tokens(all, b, 0, cut)));
      EXPECT_TRUE(same_bits(piece(cut, 290), tokens(all, b, cut, 290)));
    }
  }
}

TYPED_TEST(AttentionCore, PackedDocumentsGiveTheBitsTheyGiveAlone) {
  for (const bool causal : {true, false}) {
    const AttentionCase c{"", 2, 300, 300, 4, 2, 5, 6, causal, 0, {1, 128, 40, 131}};
    const AttentionOperands<TypeParam> in(c);
    const AttentionResult all = attention_core(in.q, in.k, in.v, 0.7, in.mask());
    std::int64_t begin = 0;
    for (const std::int64_t length : c.documents) {
      const std::int64_t end = begin + length;
      for (std::int64_t b = 0; b < 2; ++b)
        expect_same(attention_core(tokens(in.q, b, begin, end), tokens(in.k, b, begin, end),
                                   tokens(in.v, b, begin, end), 0.7, {.causal = causal}),
                    {tokens(all.out, b, begin, end), tokens(all.log_sum_exp, b, begin, end)}, "packed");
      begin = end;
    }
  }
}

TYPED_TEST(AttentionCore, WhatAQueryDoesNotMeetMayBeNan) {
  const AttentionCase c{"", 1, 300, 300, 2, 1, 5, 6};
  const AttentionOperands<TypeParam> in(c);
  const Tensor all = attention_core(in.q, in.k, in.v, 0.7).out;
  for (const TypeParam bad :
       {std::numeric_limits<TypeParam>::quiet_NaN(), std::numeric_limits<TypeParam>::infinity()}) {
    Tensor k = in.k.clone();
    Tensor v = in.v.clone();
    k.template mutable_values<TypeParam>()[141 * 5 + 2] = bad;
    v.template mutable_values<TypeParam>()[140 * 6 + 3] = bad;
    const Tensor out = attention_core(in.q, k, v, 0.7).out;
    EXPECT_TRUE(same_bits(tokens(out, 0, 0, 140), tokens(all, 0, 0, 140)));
    EXPECT_FALSE(std::isfinite(out.values<TypeParam>()[140 * 2 * 6 + 3]));
    EXPECT_FALSE(same_bits(tokens(out, 0, 141, 142), tokens(all, 0, 141, 142)));
  }
}

TYPED_TEST(AttentionCore, ThreadsDoNotChangeABit) {
  for (const AttentionCase& c : attention_cases()) {
    const AttentionOperands<TypeParam> in(c);
    core::set_num_threads(1);
    const AttentionResult one = attention_core(in.q, in.k, in.v, 0.7, in.mask());
    core::set_num_threads(3);
    expect_same(attention_core(in.q, in.k, in.v, 0.7, in.mask()), one, c.name);
  }
  core::set_num_threads(0);
}

TYPED_TEST(AttentionCore, LargeScoresDoNotOverflow) {
  const std::vector<TypeParam> big = {300, 300};
  const std::vector<TypeParam> values = {1, 2};
  const Tensor x = Tensor::from<TypeParam>({1, 2, 1, 1}, big);
  const AttentionResult result = attention_core(x, x, Tensor::from<TypeParam>({1, 2, 1, 1}, values), 1);
  EXPECT_EQ(result.out.values<TypeParam>()[0], 1);
  EXPECT_EQ(result.out.values<TypeParam>()[1], static_cast<TypeParam>(1.5));
  EXPECT_EQ(result.log_sum_exp.values<TypeParam>()[0], 90000);
  EXPECT_EQ(result.log_sum_exp.values<TypeParam>()[1],
            static_cast<TypeParam>(90000) + static_cast<TypeParam>(std::log(2.0)));
}

TEST(AttentionCoreOptions, WeightsAreRoundedToBf16) {
  for (const AttentionCase& c : attention_cases()) {
    const AttentionOperands<float> in(c);
    const AttentionOptions options{.round_weights = true};
    expect_same(attention_core(in.q, in.k, in.v, 0.7, in.mask(), options),
                attention_core_plain(in.q, in.k, in.v, 0.7, in.mask(), options), c.name);
  }
  // Two keys, the weights exp(-0.3) and 1: out = (bf16(exp(-0.3)) * 1 + 1 * 0) / (exp(-0.3) + 1).
  const std::vector<float> query = {0, 1};
  const std::vector<float> keys = {-0.3F, 0};
  const std::vector<float> values = {1, 0};
  const auto column = [](const std::vector<float>& x) { return Tensor::from<float>({1, 2, 1, 1}, x); };
  const Tensor out = attention_core(column(query), column(keys), column(values), 1, {}, {.round_weights = true}).out;
  const auto weight = static_cast<float>(std::exp(static_cast<double>(-0.3F)));
  const float rounded =
      numerics::decode(numerics::encode(weight, numerics::Format::kBF16, {}), numerics::Format::kBF16);
  EXPECT_NE(rounded, weight);
  EXPECT_EQ(at(out, 1), rounded / (weight + 1));
  const AttentionOperands<double> in({"", 1, 2, 2, 1, 1, 1, 1});
  EXPECT_THROW((void)attention_core(in.q, in.k, in.v, 1, {}, {.round_weights = true}), core::Error);
}

TEST(AttentionCoreErrors, MasksThatMakeNoSense) {
  const AttentionOperands<float> in({"", 1, 3, 4, 1, 1, 2, 2});
  const auto array = [](const std::vector<std::int64_t>& x) { return Tensor::from<std::int64_t>({1, 3}, x); };
  const auto fails = [&](const AttentionMask& mask) {
    try {
      (void)attention_core(in.q, in.k, in.v, 1, mask);
    } catch (const core::Error& error) {
      return error.kind() == core::ErrorKind::kInternal;
    }
    return false;
  };
  const Tensor good = array({0, 0, 2});
  const Tensor good_end = array({2, 2, 4});
  EXPECT_FALSE(fails({}));
  EXPECT_FALSE(fails({.past = 1}));
  EXPECT_FALSE(fails({.first_key = &good}));
  EXPECT_FALSE(fails({.causal = false, .first_key = &good, .end_key = &good_end}));
  EXPECT_TRUE(fails({.past = 2}));  // the last query's own key is missing
  EXPECT_TRUE(fails({.past = -1}));
  EXPECT_TRUE(fails({.causal = false, .first_key = &good}));  // documents overlap
  const Tensor decreasing = array({1, 0, 0});
  EXPECT_TRUE(fails({.past = 1, .first_key = &decreasing}));
  const Tensor later = array({0, 2, 2});
  EXPECT_TRUE(fails({.first_key = &later}));  // query 1 meets no key
  const Tensor negative = array({-1, -1, -1});
  EXPECT_TRUE(fails({.first_key = &negative}));
  const Tensor beyond = array({5, 5, 5});
  EXPECT_TRUE(fails({.causal = false, .end_key = &beyond}));
  const Tensor nothing = array({0, 0, 0});
  EXPECT_TRUE(fails({.causal = false, .end_key = &nothing}));
  const Tensor shape = Tensor::from<std::int64_t>({3}, std::vector<std::int64_t>{0, 0, 0});
  EXPECT_TRUE(fails({.first_key = &shape}));
}

}  // namespace
}  // namespace lastbit::ops

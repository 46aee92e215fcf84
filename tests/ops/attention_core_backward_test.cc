#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "attention_cases.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "ops/attention_core.h"
#include "ops/cost.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

template <typename T>
class AttentionCoreBackward : public testing::Test {};
using Dtypes = testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionCoreBackward, Dtypes);

void expect_same(const AttentionGrads& a, const AttentionGrads& b, const std::string& name) {
  EXPECT_TRUE(same_bits(a.dq, b.dq)) << name;
  EXPECT_TRUE(same_bits(a.dk, b.dk)) << name;
  EXPECT_TRUE(same_bits(a.dv, b.dv)) << name;
}

template <typename T>
AttentionGrads backward(const AttentionOperands<T>& in, double scale) {
  const AttentionResult result = attention_core(in.q, in.k, in.v, scale, in.mask());
  return attention_core_backward(in.dout, in.q, in.k, in.v, result, scale, in.mask());
}

TYPED_TEST(AttentionCoreBackward, BlocksGiveTheBitsOfScalarLoops) {
  for (const AttentionCase& c : attention_cases()) {
    const AttentionOperands<TypeParam> in(c);
    const AttentionResult result = attention_core(in.q, in.k, in.v, 0.7, in.mask());
    expect_same(backward(in, 0.7), attention_core_backward_plain(in.dout, in.q, in.k, in.v, result, 0.7, in.mask()),
                c.name);
  }
}

TEST(AttentionCoreBackwardOptions, RoundedWeightsGiveTheBitsOfScalarLoops) {
  const AttentionOptions options{.round_weights = true};
  for (const AttentionCase& c : attention_cases()) {
    const AttentionOperands<float> in(c);
    const AttentionResult result = attention_core(in.q, in.k, in.v, 0.7, in.mask(), options);
    const AttentionGrads grads = attention_core_backward(in.dout, in.q, in.k, in.v, result, 0.7, in.mask(), options);
    expect_same(grads, attention_core_backward_plain(in.dout, in.q, in.k, in.v, result, 0.7, in.mask(), options),
                c.name);
    if (c.queries < 100) continue;
    EXPECT_FALSE(same_bits(grads.dv, backward(in, 0.7).dv)) << c.name;
  }
}

// d/dx of sum(dout out), by central differences.
double numeric_gradient(AttentionOperands<double>& in, Tensor& x, std::size_t i, double scale) {
  constexpr double kStep = 1e-6;
  const auto loss = [&] {
    const Tensor out = attention_core(in.q, in.k, in.v, scale, in.mask()).out;
    double total = 0;
    for (std::size_t j = 0; j < out.values<double>().size(); ++j)
      total += in.dout.values<double>()[j] * out.values<double>()[j];
    return total;
  };
  double& value = x.mutable_values<double>()[i];
  const double old = value;
  value = old + kStep;
  const double above = loss();
  value = old - kStep;
  const double below = loss();
  value = old;
  return (above - below) / (2 * kStep);
}

// `count` elements of x, or all.
void expect_gradient(AttentionOperands<double>& in, Tensor& x, const Tensor& gradient, std::size_t count, double scale,
                     const std::string& name) {
  const auto size = static_cast<std::size_t>(x.size());
  const core::RandomStream stream(3, name);
  for (std::size_t n = 0; n < std::min(count, size); ++n) {
    const std::size_t i = size <= count ? n : stream.word(n) % size;
    const double analytic = gradient.values<double>()[i];
    // Rounding of a loss of about 10 divided by the step: 1e-9; the truncation is far below.
    EXPECT_NEAR(numeric_gradient(in, x, i, scale), analytic, 1e-7 * std::max(1.0, std::abs(analytic))) << name;
  }
}

TEST(AttentionCoreBackwardNumerically, IsTheDerivative) {
  std::vector<AttentionCase> cases = {
      {"MHA", 2, 5, 5, 2, 2, 3, 4},
      {"GQA", 1, 6, 6, 4, 2, 2, 3},
      {"MQA", 1, 4, 4, 5, 1, 4, 2},
      {"all keys", 1, 4, 7, 2, 1, 3, 3, false},
      {"past", 1, 3, 8, 2, 1, 3, 3, true, 5},
      {"packed", 1, 9, 9, 2, 1, 3, 2, true, 0, {2, 4, 3}},
      {"packed, all keys", 1, 9, 9, 2, 1, 3, 2, false, 0, {2, 4, 3}},
      {"MHA, several blocks", 1, 270, 270, 1, 1, 3, 2},
      {"MQA, several blocks, packed", 1, 270, 270, 3, 1, 3, 2, true, 0, {130, 140}},
  };
  const core::RandomStream stream(5, "attention shapes");
  for (std::uint64_t i = 0; i < 10; ++i) {
    const auto draw = [&](std::uint64_t what, std::int64_t most) {
      return 1 + static_cast<std::int64_t>(stream.word(8 * i + what)) % most;
    };
    const std::int64_t kv_heads = draw(0, 2);
    const std::int64_t queries = draw(1, 7);
    const std::int64_t past = draw(2, 4) - 1;
    cases.push_back({"random", draw(3, 2), queries, past + queries, kv_heads * draw(4, 3), kv_heads, draw(5, 5),
                     draw(6, 5), draw(7, 2) == 1, past});
  }
  for (const AttentionCase& c : cases) {
    AttentionOperands<double> in(c);
    const AttentionGrads grads = backward(in, 0.9);
    expect_gradient(in, in.q, grads.dq, 64, 0.9, c.name + ", dq");
    expect_gradient(in, in.k, grads.dk, 64, 0.9, c.name + ", dk");
    expect_gradient(in, in.v, grads.dv, 64, 0.9, c.name + ", dv");
  }
}

TYPED_TEST(AttentionCoreBackward, PackedDocumentsGiveTheBitsTheyGiveAlone) {
  for (const bool causal : {true, false}) {
    const AttentionCase c{"", 2, 300, 300, 4, 2, 5, 6, causal, 0, {1, 128, 40, 131}};
    const AttentionOperands<TypeParam> in(c);
    const AttentionGrads all = backward(in, 0.7);
    std::int64_t begin = 0;
    for (const std::int64_t length : c.documents) {
      for (std::int64_t b = 0; b < 2; ++b) {
        AttentionOperands<TypeParam> alone({"", 1, length, length, 4, 2, 5, 6, causal});
        const auto own = [&](const Tensor& x) { return tokens(x, b, begin, begin + length); };
        alone.q = own(in.q);
        alone.k = own(in.k);
        alone.v = own(in.v);
        alone.dout = own(in.dout);
        expect_same(backward(alone, 0.7), {own(all.dq), own(all.dk), own(all.dv)}, "packed");
      }
      begin += length;
    }
  }
}

TYPED_TEST(AttentionCoreBackward, WhatIsNotMetMayBeNan) {
  const AttentionCase c{"", 1, 300, 300, 2, 1, 5, 6};
  const AttentionOperands<TypeParam> in(c);
  const AttentionGrads all = backward(in, 0.7);
  const auto with = [&](Tensor AttentionOperands<TypeParam>::*which, std::size_t i) {
    AttentionOperands<TypeParam> bad = in;
    bad.*which = (in.*which).clone();
    (bad.*which).template mutable_values<TypeParam>()[i] = std::numeric_limits<TypeParam>::quiet_NaN();
    return backward(bad, 0.7);
  };
  // Queries before token 140 meet neither its key nor its value; keys after it are not met by its query.
  EXPECT_TRUE(
      same_bits(tokens(with(&AttentionOperands<TypeParam>::k, 140 * 5).dq, 0, 0, 140), tokens(all.dq, 0, 0, 140)));
  EXPECT_TRUE(
      same_bits(tokens(with(&AttentionOperands<TypeParam>::v, 140 * 6).dq, 0, 0, 140), tokens(all.dq, 0, 0, 140)));
  for (const AttentionGrads& grads :
       {with(&AttentionOperands<TypeParam>::q, 140 * 10), with(&AttentionOperands<TypeParam>::dout, 140 * 12)}) {
    EXPECT_TRUE(same_bits(tokens(grads.dk, 0, 141, 300), tokens(all.dk, 0, 141, 300)));
    EXPECT_TRUE(same_bits(tokens(grads.dv, 0, 141, 300), tokens(all.dv, 0, 141, 300)));
    EXPECT_TRUE(std::isnan(grads.dk.template values<TypeParam>()[140 * 5]));
  }
}

TYPED_TEST(AttentionCoreBackward, KeysThatNobodyMeetsHaveNoGradient) {
  const AttentionOperands<TypeParam> in({"", 1, 5, 40, 2, 1, 3, 4, true, 20});
  const AttentionGrads grads = backward(in, 0.7);
  for (const Tensor& spare : {tokens(grads.dk, 0, 25, 40), tokens(grads.dv, 0, 25, 40)})
    EXPECT_TRUE(same_bits(spare, Tensor::zeros(spare.dtype(), spare.shape())));
  EXPECT_NE(grads.dv.template values<TypeParam>()[24 * 4], 0);
}

TYPED_TEST(AttentionCoreBackward, ThreadsDoNotChangeABit) {
  for (const AttentionCase& c : attention_cases()) {
    const AttentionOperands<TypeParam> in(c);
    core::set_num_threads(1);
    const AttentionGrads one = backward(in, 0.7);
    core::set_num_threads(3);
    expect_same(backward(in, 0.7), one, c.name);
  }
  core::set_num_threads(0);
}

TEST(AttentionCoreCost, BackwardIsFiveProductsForTwo) {
  const Cost forward = attention_core_cost(100, 4, 24, 16, true, 2);
  const Cost backward = attention_core_backward_cost(100, 4, 24, 16, true, 2);
  EXPECT_EQ(backward.flops, 2.0 * 100 * 50.5 * 4 * (3 * 24 + 2 * 16));
  // 2.5 times forward's where qk_dim = v_dim.
  EXPECT_EQ(attention_core_backward_cost(100, 4, 16, 16, false, 2).flops,
            2.5 * attention_core_cost(100, 4, 16, 16, false, 2).flops);
  // q, k, v, out and dout are read, dq, dk and dv written.
  EXPECT_EQ(backward.bytes_read, forward.bytes_read + 2 * forward.bytes_written);
  EXPECT_EQ(backward.bytes_written, forward.bytes_read);
}

}  // namespace
}  // namespace lastbit::ops

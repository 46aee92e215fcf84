#include "ops/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "numerics/matmul.h"
#include "numerics/quantize_e5m6.h"
#include "operator_checks.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

using numerics::FloatMatrix;
using numerics::Quantized;
using tensor::Shape;
using tensor::Tensor;

const LinearNumerics kPlain;
DelayedScales first_step;  // never ends: all scales are 1
const LinearSite kSite{"layer", nullptr, &first_step};

Tensor transposed(const Tensor& x) { return x.transpose(0, 1).clone(); }

FloatMatrix matrix(const Tensor& x) { return {x.values<float>(), x.dim(0), x.dim(1)}; }

TEST(Linear, IsOneChainOfFmasAnOutput) {
  for (const std::int64_t in : {1, 7, 300}) {
    const Tensor x = random_tensor("x", {2, 19, in});
    const Tensor weight = random_tensor("w", {35, in});
    const Tensor bias = random_tensor("b", {35});
    const Tensor y = linear({x, kPlain, kSite}, weight, kPlain, kSite, &bias);
    ASSERT_EQ(y.shape(), (Shape{2, 19, 35}));
    std::vector<float> expected(38 * 35);
    numerics::matmul_plain(numerics::MatmulProblem<float>{{x.values<float>().data(), 38, in, in, false},
                                                          {weight.values<float>().data(), in, 35, in, true},
                                                          expected.data(),
                                                          35,
                                                          false});
    for (std::int64_t i = 0; i < 38 * 35; ++i)
      EXPECT_EQ(at(y, i), expected[static_cast<std::size_t>(i)] + at(bias, i % 35));
  }
}

TEST(Linear, RowsDoNotSeeEachOther) {
  const Tensor x = random_tensor("x", {50, 33});
  const Tensor weight = random_tensor("w", {70, 33});
  for (const char* policy : {"fp32", "bf16", "fp8-h800"}) {
    const LinearNumerics numerics = numerics_by_name(policy).projection;
    const Tensor all = linear({x, numerics, kSite}, weight, numerics, kSite);
    const Tensor some = linear({x.slice(0, 17, 20).contiguous(), numerics, kSite}, weight, numerics, kSite);
    EXPECT_TRUE(same_bits(some, all.slice(0, 17, 20).contiguous())) << policy;
  }
}

TEST(Linear, RefusesShapesThatDoNotMeet) {
  EXPECT_THROW(
      static_cast<void>(linear({random_tensor("x", {2, 3}), kPlain, kSite}, random_tensor("w", {4, 5}), kPlain, kSite)),
      core::Error);
}

// Three groups of rows, one of them empty.
TEST(Linear, GradientsAreThoseOfDifferences) {
  const GroupOffsets offsets = {0, 3, 3, 5};
  const Tensor x = random_f64("x", {5, 4});
  const std::vector<Tensor> weights = {random_f64("w0", {3, 4}), random_f64("w1", {3, 4}), random_f64("w2", {3, 4})};
  const Tensor dy = random_f64("dy", {5, 3});
  const auto loss_of = [&](const Tensor& input, const std::vector<Tensor>& matrices) {
    return inner(dy, grouped_linear({input, kPlain, kSite, offsets}, matrices, kPlain, kSite));
  };
  const Tensor dx = grouped_linear_dgrad(dy, offsets, weights, kPlain, kSite);
  expect_gradient(
      dx, x, [&](const Tensor& moved) { return loss_of(moved, weights); }, "dx");
  std::vector<Tensor> dweights;
  for (std::size_t g = 0; g < 3; ++g) dweights.push_back(Tensor::zeros(tensor::DType::kF64, {3, 4}));
  grouped_linear_wgrad(dy, {x, kPlain, kSite, offsets}, dweights, kPlain, kSite);
  for (std::size_t g = 0; g < 3; ++g)
    expect_gradient(
        dweights[g], weights[g],
        [&](const Tensor& moved) {
          std::vector<Tensor> matrices = weights;
          matrices[g] = moved;
          return loss_of(x, matrices);
        },
        "dweight");
}

TEST(Linear, BiasGradientIsTheSumOfRows) {
  const Tensor dy = random_f64("dy", {4, 3, 70});
  Tensor dweight = Tensor::zeros(tensor::DType::kF64, {70, 2});
  Tensor dbias = Tensor::zeros(tensor::DType::kF64, {70});
  linear_wgrad(dy, {random_f64("x", {4, 3, 2}), kPlain, kSite}, dweight, kPlain, kSite, &dbias);
  for (std::int64_t i = 0; i < 70; ++i) {
    double sum = 0;
    for (std::int64_t r = 0; r < 12; ++r) sum += dy.values<double>()[static_cast<std::size_t>(r * 70 + i)];
    EXPECT_EQ(dbias.values<double>()[static_cast<std::size_t>(i)], sum);
  }
}

// The sentences of the recipe once more, from the quantisers and the plain GEMM alone: explicit transposes, no sharing.
class Fp8Linear : public ::testing::Test {
 protected:
  static constexpr std::int64_t kRows = 150;
  static constexpr std::int64_t kIn = 200;
  static constexpr std::int64_t kOut = 270;

  static Quantized quantised(const Tensor& x, numerics::ScaleTile tile,
                             numerics::ScaleKind scale = numerics::ScaleKind::kF32) {
    numerics::QuantizeRule rule;
    rule.tile = tile;
    rule.scale = scale;
    return numerics::quantize(matrix(x), rule, "x");
  }
  static Tensor product(const Quantized& a, const Quantized& b) {
    const numerics::MmaRule rule = numerics_by_name("fp8-h800").projection.fprop.rule;
    Tensor d = Tensor::empty(tensor::DType::kF32, {a.rows, b.rows});
    numerics::gemm_plain(rule, {a.matrix(), b.matrix(), a.scales, b.scales, a.tile, b.tile},
                         {numerics::PromotionOrder::kDeepgemm, 128}, d.mutable_values<float>());
    return d;
  }
  static Tensor dequantised(const Quantized& codes) {
    return Tensor::from<float>({codes.rows, codes.cols}, numerics::dequantize(codes));
  }
  static Tensor wgrad(const LinearInput& x, const Tensor& dy, const LinearNumerics& numerics) {
    Tensor dweight = Tensor::zeros(tensor::DType::kF32, {kOut, kIn});
    linear_wgrad(dy, x, dweight, numerics, kSite);
    return dweight;
  }

  Tensor x_ = random_tensor("x", {kRows, kIn});
  Tensor weight_ = random_tensor("w", {kOut, kIn});
  Tensor dy_ = random_tensor("dy", {kRows, kOut});
};

TEST_F(Fp8Linear, FpropAndDgradAreTheRecipe) {
  const LinearNumerics numerics = numerics_by_name("fp8-h800").projection;
  const Tensor y = linear({x_, numerics, kSite}, weight_, numerics, kSite);
  EXPECT_TRUE(same_bits(y, product(quantised(x_, {1, 128}), quantised(weight_, {128, 128}))));
  const Tensor dx = linear_dgrad(dy_, weight_, numerics, kSite);
  EXPECT_TRUE(same_bits(dx, product(quantised(dy_, {1, 128}), quantised(transposed(weight_), {128, 128}))));
}

TEST_F(Fp8Linear, WgradRequantisesTheCachedCodesAlongTheTokens) {
  LinearNumerics numerics = numerics_by_name("fp8-h800").projection;
  const Tensor cached = dequantised(quantised(x_, {1, 128}));
  const Quantized left = quantised(transposed(dy_), {1, 128});
  const Tensor expected = product(left, quantised(transposed(cached), {1, 128}));
  EXPECT_TRUE(same_bits(wgrad({x_, numerics, kSite}, dy_, numerics), expected));
  numerics.wgrad_input = WgradInput::kFromValues;
  const Tensor from_values = product(left, quantised(transposed(x_), {1, 128}));
  EXPECT_TRUE(same_bits(wgrad({x_, numerics, kSite}, dy_, numerics), from_values));
  EXPECT_FALSE(same_bits(expected, from_values));
}

TEST_F(Fp8Linear, TheInputAfterAttentionIsCachedInE5M6WithPowersOfTwo) {
  const LinearNumerics numerics = numerics_by_name("fp8-h800").attention_output;
  LinearInput input(x_, numerics, kSite);
  const Tensor y = linear(input, weight_, numerics, kSite);
  const auto ue8m0 = numerics::ScaleKind::kUe8m0;
  EXPECT_TRUE(same_bits(y, product(quantised(x_, {1, 128}, ue8m0), quantised(weight_, {128, 128}))));
  input.end_fprop();
  const Tensor cached =
      Tensor::from<float>({kRows, kIn}, numerics::dequantize_e5m6(numerics::quantize_e5m6(matrix(x_), "x")));
  EXPECT_TRUE(same_bits(input.values(), cached));
  const Tensor expected = product(quantised(transposed(dy_), {1, 128}), quantised(transposed(cached), {1, 128}, ue8m0));
  EXPECT_TRUE(same_bits(wgrad(input, dy_, numerics), expected));
}

TEST_F(Fp8Linear, GroupsAreLinearLayersOfTheirOwn) {
  const GroupOffsets offsets = {0, 20, 20, 150};
  const std::vector<Tensor> weights = {weight_, random_tensor("w1", {kOut, kIn}), random_tensor("w2", {kOut, kIn})};
  for (const std::string& policy : policy_names()) {
    if (policy == "fp64") continue;
    const LinearNumerics numerics = numerics_by_name(policy).expert_in;
    const LinearInput input(x_, numerics, kSite, offsets);
    const Tensor y = grouped_linear(input, weights, numerics, kSite);
    const Tensor dx = grouped_linear_dgrad(dy_, offsets, weights, numerics, kSite);
    std::vector<Tensor> dweights;
    for (std::size_t g = 0; g < 3; ++g) dweights.push_back(Tensor::zeros(tensor::DType::kF32, {kOut, kIn}));
    grouped_linear_wgrad(dy_, input, dweights, numerics, kSite);
    for (std::size_t g = 0; g < 3; ++g) {
      const auto rows = [&](const Tensor& all) { return all.slice(0, offsets[g], offsets[g + 1]).contiguous(); };
      const LinearInput alone(rows(x_), numerics, kSite);
      EXPECT_TRUE(same_bits(rows(y), linear(alone, weights[g], numerics, kSite))) << policy;
      EXPECT_TRUE(same_bits(rows(dx), linear_dgrad(rows(dy_), weights[g], numerics, kSite))) << policy;
      EXPECT_TRUE(same_bits(dweights[g], wgrad(alone, rows(dy_), numerics))) << policy;
    }
  }
}

// The codes of the first product serve the next rows and dgrad, but where dgrad's weights have other tiles or scales
// from histories.
TEST(CodedWeights, ChangeNoBit) {
  const Tensor x = random_tensor("x", {9, 150});
  const std::vector<Tensor> weights = {random_tensor("w0", {140, 150}), random_tensor("w1", {140, 150})};
  const Tensor dy = random_tensor("dy", {9, 140});
  const GroupOffsets offsets = {0, 4, 9};
  for (const auto& [policy, keeps] : std::initializer_list<std::pair<const char*, bool>>{
           {"fp32", false}, {"bf16", true}, {"fp8-h800", true}, {"1x128", false}, {"fp8-h800-delayed", false}}) {
    const bool narrow = std::string(policy) == "1x128";
    LinearNumerics numerics = numerics_by_name(narrow ? "fp8-h800" : policy).projection;
    if (narrow) numerics.dgrad.right.tile = policy;
    EXPECT_EQ(keeps_weights(numerics), keeps) << policy;
    const LinearInput input(x, numerics, kSite, offsets);
    const Tensor y = grouped_linear(input, weights, numerics, kSite);
    const Tensor dx = grouped_linear_dgrad(dy, offsets, weights, numerics, kSite);
    CodedWeights coded;
    EXPECT_TRUE(same_bits(grouped_linear(input, weights, numerics, kSite, &coded), y)) << policy;
    EXPECT_EQ(coded.size(), keeps ? 2U : 0U) << policy;
    const std::vector<Tensor> others(2, Tensor::zeros(tensor::DType::kF32, {140, 150}));
    const std::vector<Tensor>& unread = keeps ? others : weights;
    EXPECT_TRUE(same_bits(grouped_linear(input, unread, numerics, kSite, &coded), y)) << policy;
    EXPECT_TRUE(same_bits(grouped_linear_dgrad(dy, offsets, unread, numerics, kSite, &coded), dx)) << policy;
  }
}

TEST_F(Fp8Linear, AShadowChangesNoBitAndNamesItsProducts) {
  for (const char* kind : {"projection", "attention_output"}) {
    const Numerics policy = numerics_by_name("fp8-h800");
    const LinearNumerics& numerics = *kind == 'p' ? policy.projection : policy.attention_output;
    Shadow shadow;
    const LinearSite site{"layer", &shadow};
    LinearInput watched(x_, numerics, site);
    LinearInput alone(x_, numerics, kSite);
    EXPECT_TRUE(same_bits(linear(watched, weight_, numerics, site), linear(alone, weight_, numerics, kSite)));
    EXPECT_TRUE(same_bits(linear_dgrad(dy_, weight_, numerics, site), linear_dgrad(dy_, weight_, numerics, kSite)));
    watched.end_fprop();
    alone.end_fprop();
    Tensor with = Tensor::zeros(tensor::DType::kF32, {kOut, kIn});
    linear_wgrad(dy_, watched, with, numerics, site);
    EXPECT_TRUE(same_bits(with, wgrad(alone, dy_, numerics))) << kind;
    ASSERT_EQ(shadow.losses().size(), 3U);
    const char* names[] = {"fprop", "dgrad", "wgrad"};
    for (std::size_t i = 0; i < 3; ++i) {
      const ProductLoss& loss = shadow.losses()[i];
      EXPECT_EQ(loss.site, "layer");
      EXPECT_EQ(loss.product, names[i]);
      // E4M3 keeps four bits of each operand: about 2^-5 of the norm a side.
      EXPECT_GT(loss.relative_error(), 0.01);
      EXPECT_LT(loss.relative_error(), 0.08);
      EXPECT_NEAR(loss.cosine(), 1 - loss.relative_error() * loss.relative_error() / 2, 1e-3);
      EXPECT_EQ(loss.left.saturated, 0);
    }
    EXPECT_EQ(shadow.losses()[0].left.elements, kRows * kIn);
    EXPECT_EQ(shadow.losses()[0].right.elements, kOut * kIn);
  }
}

TEST_F(Fp8Linear, AShadowCountsWhatIsFlushed) {
  Tensor x = x_.clone();
  const auto values = x.mutable_values<float>();
  for (std::size_t i = 0; i < 10; ++i) values[i] = 1e-9F;  // far below 2^-10 of the tile's scale
  values[10] = 0;                                          // was zero already
  Shadow shadow;
  const LinearNumerics numerics = numerics_by_name("fp8-h800").projection;
  const LinearSite site{"layer", &shadow};
  static_cast<void>(linear({x, numerics, site}, weight_, numerics, site));
  EXPECT_EQ(shadow.losses().front().left.flushed, 10);
}

TEST_F(Fp8Linear, ThreadsChangeNoBit) {
  expect_threads_change_no_bit([&] {
    std::vector<Tensor> results;
    for (const std::string& policy : policy_names()) {
      if (policy == "fp64") continue;
      const LinearNumerics numerics = numerics_by_name(policy).projection;
      const LinearInput input(x_, numerics, kSite);
      results.push_back(linear(input, weight_, numerics, kSite));
      results.push_back(linear_dgrad(dy_, weight_, numerics, kSite));
      results.push_back(wgrad(input, dy_, numerics));
    }
    return results;
  });
}

TEST_F(Fp8Linear, AValueThatIsNotFiniteIsNamed) {
  Tensor x = x_.clone();
  x.mutable_values<float>()[static_cast<std::size_t>(3 * kIn + 7)] = INFINITY;
  for (const char* policy : {"bf16", "fp8-h800"}) {
    const LinearNumerics numerics = numerics_by_name(policy).projection;
    try {
      LinearInput(x, numerics, kSite);
      FAIL() << policy;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
      EXPECT_NE(std::string(error.what()).find("layer: the input"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("[3, 7]"), std::string::npos) << error.what();
    }
  }
}

TEST(QuantizeE5M6, ScalesArePowersOfTwoAndErrorsBelowHalfAStep) {
  Tensor x = random_tensor("x", {6, 300});
  for (std::int64_t i = 0; i < 128; ++i) x.mutable_values<float>()[static_cast<std::size_t>(300 + i)] = 0;
  const Quantized codes = numerics::quantize_e5m6(matrix(x), "x");
  ASSERT_EQ(codes.scales.size(), 18U);
  EXPECT_EQ(codes.scales[3], 1.0F);  // a tile of zeros
  for (const float scale : codes.scales) EXPECT_EQ(std::exp2(std::round(std::log2(scale))), scale);
  const std::vector<float> values = numerics::dequantize_e5m6(codes);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float exact = x.values<float>()[i];
    EXPECT_LE(std::abs(values[i] - exact), std::abs(exact) * 0x1p-7F + 1e-9F) << i;
  }
}

// Every exponent and mantissa that E5M6 tells apart, on both sides of every tie; the scale is 1.
TEST(QuantizeE5M6, CodesAreThoseOfTheFormat) {
  constexpr float kLargest = 65024.0F;
  std::vector<float> values;
  for (std::uint32_t high = 0; high < 0x10000; ++high)
    for (const std::uint32_t low : {0U, 1U, 0x8000U, 0xffffU}) {
      const auto value = std::bit_cast<float>(high << 16 | low);
      if (!(std::abs(value) <= kLargest)) continue;
      if (values.size() % 128 == 0) values.push_back(kLargest);
      values.push_back(value);
    }
  const auto columns = static_cast<std::int64_t>(values.size());
  const Quantized codes = numerics::quantize_e5m6({values, 1, columns}, "x");
  const numerics::EncodeOptions options = numerics::default_encode_options(numerics::Format::kE5M6);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto found =
        static_cast<std::uint32_t>(codes.codes[2 * i]) | static_cast<std::uint32_t>(codes.codes[2 * i + 1]) << 8;
    ASSERT_EQ(found, numerics::encode(values[i], numerics::Format::kE5M6, options)) << values[i];
  }
}

TEST(QuantizeE5M6, OddScalesRoundUp) {
  const std::vector<float> values = {65024.0F * 3, 1};  // 3 rounds up to 4
  const Quantized codes = numerics::quantize_e5m6({values, 1, 2}, "x");
  EXPECT_EQ(codes.scales[0], 4.0F);
  EXPECT_EQ(numerics::dequantize_e5m6(codes)[1], 1.0F);
}

}  // namespace
}  // namespace lastbit::ops

#include "ops/numerics.h"

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"
#include "numerics/bf16.h"
#include "numerics/format.h"
#include "random_tensor.h"

namespace lastbit::ops {
namespace {

TEST(Numerics, EveryNamedPolicyIsMade) {
  for (const std::string& name : policy_names()) {
    EXPECT_EQ(numerics_by_name(name).name, name);
    EXPECT_FALSE(describe_policy(name).empty());
  }
}

TEST(Numerics, AnUnknownPolicyIsBadInputWithASuggestion) {
  try {
    static_cast<void>(numerics_by_name("fp8-h80"));
    FAIL();
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    EXPECT_NE(std::string(error.what()).find("did you mean 'fp8-h800'"), std::string::npos) << error.what();
  }
}

// The recipe's figures: DeepSeek-V3 report, sections 3.3.1 and 3.5.2.
TEST(Numerics, TheRecipeIsThatOfTheReport) {
  const Numerics recipe = numerics_by_name("fp8-h800");
  EXPECT_EQ(recipe.values, Values::kBF16);
  for (const LinearNumerics* linear :
       {&recipe.projection, &recipe.attention_output, &recipe.expert_in, &recipe.expert_down})
    for (const ProductNumerics* product : {&linear->fprop, &linear->dgrad, &linear->wgrad}) {
      EXPECT_EQ(product->rule.fraction_bits, 13);
      EXPECT_EQ(product->promotion.every, 128);
      EXPECT_EQ(product->left.format, numerics::Format::kE4M3);
      EXPECT_EQ(product->left.tile, "1x128");
      EXPECT_EQ(product->right.tile, product == &linear->wgrad ? "1x128" : "128x128");
    }
  EXPECT_FALSE(recipe.router.tensor_core);
  EXPECT_TRUE(recipe.attention_output.e5m6_cache);
  EXPECT_EQ(recipe.expert_in.fprop.left.rule.scale, numerics::ScaleKind::kUe8m0);
  EXPECT_EQ(recipe.expert_down.dgrad.left.rule.scale, numerics::ScaleKind::kUe8m0);
  EXPECT_EQ(recipe.projection.fprop.left.rule.scale, numerics::ScaleKind::kF32);
}

TEST(Numerics, SettledValuesAreThoseOfEncode) {
  tensor::Tensor x = random_tensor("settle", {3, 1000});
  const tensor::Tensor before = x.clone();
  settle(x, numerics_by_name("fp32"));
  for (std::size_t i = 0; i < 3000; ++i) EXPECT_EQ(x.values<float>()[i], before.values<float>()[i]);
  settle(x, numerics_by_name("bf16"));
  const auto options = numerics::default_encode_options(numerics::Format::kBF16);
  for (std::size_t i = 0; i < 3000; ++i) {
    const std::uint32_t code = numerics::encode(before.values<float>()[i], numerics::Format::kBF16, options);
    EXPECT_EQ(x.values<float>()[i], numerics::decode(code, numerics::Format::kBF16));
  }
}

TEST(Bf16, HasTheBitsOfEncode) {
  const auto options = numerics::default_encode_options(numerics::Format::kBF16);
  for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 65521) {  // a prime: every part of the range
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    EXPECT_EQ(numerics::bf16_code(value), numerics::encode(value, numerics::Format::kBF16, options)) << bits;
  }
}

}  // namespace
}  // namespace lastbit::ops

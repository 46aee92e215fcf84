#include "model/numerics_file.h"

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"
#include "io/atomic_file.h"
#include "support/shared.h"

namespace lastbit::model {
namespace {

class NumericsFile : public ::testing::Test {
 protected:
  [[nodiscard]] ops::Numerics read(const std::string& text) const {
    io::write_text_file(path(), text);
    return find_numerics(path());
  }
  void expect_refused(const std::string& text, const std::string& fragment) const {
    try {
      static_cast<void>(read(text));
      FAIL() << text;
    } catch (const core::Error& error) {
      EXPECT_EQ(error.kind(), core::ErrorKind::kInput) << error.what();
      EXPECT_NE(std::string(error.what()).find(fragment), std::string::npos) << error.what();
    }
  }
  [[nodiscard]] std::string path() const { return dir_.file("policy.toml"); }

  testing::TempDir dir_;
};

TEST_F(NumericsFile, ChangesWhatItNamesInEveryFp8Layer) {
  const ops::Numerics numerics = read(R"(
base = "fp8-h800"
promotion = "cublas"
every = 64
wgrad_input = "values"
fp8_swiglu_cache = false
[activation]
scale = "ue8m0"
method = "reciprocal"
[gradient]
format = "e5m2"
tile = "1x32"
zero_block = "epsilon"
amax_epsilon = 1e-3
)");
  EXPECT_EQ(numerics.name, path());
  EXPECT_FALSE(numerics.fp8_swiglu_cache);
  EXPECT_TRUE(numerics.attention_output.e5m6_cache);
  for (const ops::LinearNumerics* layer :
       {&numerics.projection, &numerics.attention_output, &numerics.expert_in, &numerics.expert_down}) {
    EXPECT_EQ(layer->wgrad_input, ops::WgradInput::kFromValues);
    for (const ops::ProductNumerics* product : {&layer->fprop, &layer->dgrad, &layer->wgrad}) {
      EXPECT_EQ(product->promotion.order, numerics::PromotionOrder::kCublas);
      EXPECT_EQ(product->promotion.every, 64);
      EXPECT_EQ(product->rule.a, product->left.format);
      EXPECT_EQ(product->rule.b, product->right.format);
    }
    for (const ops::OperandNumerics* x : {&layer->fprop.left, &layer->wgrad.right}) {
      EXPECT_EQ(x->rule.scale, numerics::ScaleKind::kUe8m0);
      EXPECT_EQ(x->rule.method, numerics::QuantizeMethod::kReciprocal);
    }
    for (const ops::OperandNumerics* dy : {&layer->dgrad.left, &layer->wgrad.left}) {
      EXPECT_EQ(dy->format, numerics::Format::kE5M2);
      EXPECT_EQ(dy->tile, "1x32");
      EXPECT_EQ(dy->rule.zero_block, numerics::ZeroBlock::kEpsilon);
      EXPECT_EQ(dy->rule.amax_epsilon, 1e-3F);
    }
    EXPECT_EQ(layer->fprop.right.tile, "128x128");
  }
  EXPECT_EQ(numerics.head.fprop.left.format, numerics::Format::kBF16);
}

TEST_F(NumericsFile, AScaleATensorMayBeDelayed) {
  const ops::Numerics numerics = read("base = \"fp8-h800\"\n[activation]\ntile = \"tensor\"\ndelayed_steps = 4\n");
  EXPECT_EQ(numerics.expert_in.fprop.left.delayed_steps, 4U);
  EXPECT_EQ(numerics.expert_in.wgrad.right.delayed_steps, 4U);
  EXPECT_EQ(numerics.expert_in.fprop.right.delayed_steps, 0U);
  expect_refused("base = \"fp8-h800\"\n[activation]\ndelayed_steps = 4\n", "activation.tile");
  expect_refused("base = \"fp8-h800-delayed\"\n[weight]\ntile = \"128x128\"\n", "weight.tile");
}

TEST_F(NumericsFile, AUnitOfAFileOfUnits) {
  io::write_text_file(dir_.file("units.toml"), R"(
[[unit]]
name = "wide"
[[unit.row]]
operands = ["e4m3", "e5m2"]
mixed = true
fraction_bits = 20
step_k = 32
)");
  const ops::Numerics numerics = read("base = \"fp8-h800\"\nunit = \"" + dir_.file("units.toml") + "\"\n");
  EXPECT_EQ(numerics.projection.wgrad.rule.fraction_bits, 20);
}

TEST_F(NumericsFile, ANameIsANamedPolicy) { EXPECT_EQ(find_numerics("bf16").values, ops::Values::kBF16); }

TEST_F(NumericsFile, RefusesWhatItCannotMean) {
  expect_refused("promotion = \"cublas\"\n", "key 'base'");
  expect_refused("base = \"fp8\"\n", "key 'base'");
  expect_refused("base = \"fp8-h800\"\npromote = 3\n", "'promote'");
  expect_refused("base = \"fp8-h800\"\npromotion = \"none\"\n", "key 'promotion'");
  expect_refused("base = \"fp8-h800\"\nevery = 48\n", "key 'every'");
  expect_refused("base = \"fp8-h800\"\nunit = \"hoper\"\n", "hoper");
  expect_refused("base = \"fp8-h800\"\n[gradient]\nformat = \"e3m4\"\n", "gradient.format");
  expect_refused("base = \"fp8-h800\"\n[gradient]\ntile = \"1by128\"\n", "1by128");
  expect_refused("base = \"fp8-h800\"\n[gradient]\nfromat = \"e5m2\"\n", "gradient.fromat");
  expect_refused("base = \"fp32\"\nevery = 64\n", "key 'every'");
  expect_refused("base = \"fp32\"\nbf16_attention_weights = true\n", "bf16_attention_weights");
  EXPECT_THROW(static_cast<void>(find_numerics(dir_.file("missing.toml"))), core::Error);
}

}  // namespace
}  // namespace lastbit::model

// The named policies. docs/numerics_policies.md lists every tensor of the FP8 recipe with its format, tile and scale.
#include <algorithm>
#include <array>
#include <functional>

#include "core/error.h"
#include "core/suggest.h"
#include "numerics/units.h"
#include "ops/numerics.h"

namespace lastbit::ops {
namespace {

using numerics::Format;
using numerics::ScaleKind;

// What the FP8 recipe and its ablations choose between.
struct Recipe {
  const char* unit = "hopper_wgmma";
  numerics::PromotionOrder order = numerics::PromotionOrder::kDeepgemm;
  std::int64_t every = numerics::kScaleBlock;
  Format gradient = Format::kE4M3;
  const char* gradient_tile = "1x128";
  const char* activation_tile = "1x128";
  const char* weight_tile = "128x128";
  std::size_t delayed_steps = 0;
};

OperandNumerics fp8_operand(Format format, const char* tile, ScaleKind scale, std::size_t delayed_steps) {
  OperandNumerics operand{format, tile, {}, delayed_steps};
  operand.rule.format = format;
  operand.rule.scale = scale;
  return operand;
}

ProductNumerics product(const char* unit, OperandNumerics left, OperandNumerics right, numerics::Promotion promotion) {
  const numerics::MmaRule rule = numerics::rule_of(numerics::find_unit(unit), left.format, right.format, Format::kF32);
  return {std::move(left), std::move(right), rule, promotion};
}

LinearNumerics bf16_linear() {
  const ProductNumerics one = product("hopper_wgmma", {Format::kBF16, "", {}, 0}, {Format::kBF16, "", {}, 0}, {});
  return {true, one, one, one, WgradInput::kFromValues, false};
}

// activations, gradients: the kind of their scales in fprop (and so in wgrad), and in dgrad and wgrad.
LinearNumerics fp8_linear(const Recipe& recipe, ScaleKind activations, ScaleKind gradients) {
  const numerics::Promotion promotion{recipe.order, recipe.every};
  const OperandNumerics x = fp8_operand(Format::kE4M3, recipe.activation_tile, activations, recipe.delayed_steps);
  const OperandNumerics w = fp8_operand(Format::kE4M3, recipe.weight_tile, ScaleKind::kF32, recipe.delayed_steps);
  const OperandNumerics dy = fp8_operand(recipe.gradient, recipe.gradient_tile, gradients, recipe.delayed_steps);
  LinearNumerics linear;
  linear.tensor_core = true;
  linear.fprop = product(recipe.unit, x, w, promotion);
  linear.dgrad = product(recipe.unit, dy, w, promotion);
  linear.wgrad = product(recipe.unit, dy, x, promotion);
  return linear;
}

// Section 3.3 of the DeepSeek-V3 report, arXiv 2412.19437.
Numerics fp8(const Recipe& recipe) {
  Numerics numerics;
  numerics.values = Values::kBF16;
  numerics.projection = fp8_linear(recipe, ScaleKind::kF32, ScaleKind::kF32);
  numerics.attention_output = fp8_linear(recipe, ScaleKind::kUe8m0, ScaleKind::kF32);
  numerics.attention_output.e5m6_cache = true;
  numerics.expert_in = fp8_linear(recipe, ScaleKind::kUe8m0, ScaleKind::kF32);
  numerics.expert_down = fp8_linear(recipe, ScaleKind::kF32, ScaleKind::kUe8m0);
  numerics.head = bf16_linear();
  numerics.fp8_swiglu_cache = true;
  return numerics;
}

Numerics without_tensor_core(Values values) {
  Numerics numerics;
  numerics.values = values;
  return numerics;
}

Numerics bf16() {
  Numerics numerics;
  numerics.values = Values::kBF16;
  for (LinearNumerics* linear :
       {&numerics.projection, &numerics.attention_output, &numerics.expert_in, &numerics.expert_down, &numerics.head})
    *linear = bf16_linear();
  return numerics;
}

// A partial that restarts every `every` elements of K.
Recipe promoted_every(std::int64_t every) {
  Recipe recipe;
  recipe.every = every;
  return recipe;
}

Recipe one_scale_a_tensor() {
  Recipe recipe;
  recipe.gradient_tile = "tensor";
  recipe.activation_tile = "tensor";
  recipe.weight_tile = "tensor";
  return recipe;
}

Recipe on_unit(const char* unit) {
  Recipe recipe;
  recipe.unit = unit;
  return recipe;
}

struct NamedPolicy {
  const char* name;
  const char* meaning;
  std::function<Numerics()> make;
};

const std::vector<NamedPolicy>& policies() {
  static const std::vector<NamedPolicy> kPolicies = {
      {"fp32", "FP32 throughout, one fixed chain of FMAs an output", [] { return without_tensor_core(Values::kF32); }},
      {"fp64", "FP64 throughout: the oracle of gradients", [] { return without_tensor_core(Values::kF64); }},
      {"bf16", "BF16 values, products by Hopper's 16-bit tensor core", bf16},
      {"fp8-h800", "the DeepSeek-V3 recipe: E4M3, 1x128 and 128x128 scales, Hopper's 14-bit sums promoted every 128",
       [] { return fp8({}); }},
      {"fp8-h800-nopromote", "the recipe with one scale a row and a weight and no promotion before the end of K",
       [] {
         Recipe recipe;
         recipe.every = std::int64_t{1} << 40;  // beyond any K
         recipe.gradient_tile = "row";
         recipe.activation_tile = "row";
         recipe.weight_tile = "tensor";
         return fp8(recipe);
       }},
      {"fp8-h800-every32", "the recipe, promoted every 32 elements of K", [] { return fp8(promoted_every(32)); }},
      {"fp8-h800-every64", "the recipe, promoted every 64 elements of K", [] { return fp8(promoted_every(64)); }},
      {"fp8-h800-cublas", "the recipe in the promotion order of NVIDIA TransformerEngine",
       [] {
         Recipe recipe;
         recipe.order = numerics::PromotionOrder::kCublas;
         return fp8(recipe);
       }},
      {"fp8-b200", "the recipe on Blackwell's tcgen05: 25 fraction bits in place of 13, FP32 results",
       [] { return fp8(on_unit("blackwell_tcgen05")); }},
      {"fp8-h800-dy128x128", "the recipe with 128x128 scales for activation gradients",
       [] {
         Recipe recipe;
         recipe.gradient_tile = "128x128";
         return fp8(recipe);
       }},
      {"fp8-h800-e5m2", "the recipe with E5M2 gradients",
       [] {
         Recipe recipe;
         recipe.gradient = Format::kE5M2;
         return fp8(recipe);
       }},
      {"fp8-h800-tensor", "the recipe with one current scale a tensor", [] { return fp8(one_scale_a_tensor()); }},
      {"fp8-h800-delayed", "the recipe with one scale a tensor from the largest magnitude of the 16 steps before",
       [] {
         Recipe recipe = one_scale_a_tensor();
         recipe.delayed_steps = 16;
         return fp8(recipe);
       }},
  };
  return kPolicies;
}

const NamedPolicy& find_policy(const std::string& name) {
  const auto& all = policies();
  const auto found = std::find_if(all.begin(), all.end(), [&](const NamedPolicy& p) { return name == p.name; });
  if (found == all.end())
    core::fail_input("numerics '{}': found no such policy, expected one of {}{}", name, fmt::join(policy_names(), ", "),
                     core::suggestion(name, policy_names()));
  return *found;
}

}  // namespace

std::vector<std::string> policy_names() {
  std::vector<std::string> names;
  for (const NamedPolicy& policy : policies()) names.emplace_back(policy.name);
  return names;
}

Numerics numerics_by_name(const std::string& name) {
  Numerics numerics = find_policy(name).make();
  numerics.name = name;
  return numerics;
}

std::string describe_policy(const std::string& name) { return find_policy(name).meaning; }

}  // namespace lastbit::ops

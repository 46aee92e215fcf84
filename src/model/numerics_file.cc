#include "model/numerics_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "core/error.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "io/unit_file.h"
#include "numerics/parse.h"
#include "numerics/units.h"

namespace lastbit::model {
namespace {

using io::ConfigReader;

constexpr std::int64_t kMostSteps = 1 << 20;
constexpr std::int64_t kMostElements = std::int64_t{1} << 40;

std::vector<ops::LinearNumerics*> fp8_layers(ops::Numerics& numerics) {
  std::vector<ops::LinearNumerics*> layers;
  for (ops::LinearNumerics* linear :
       {&numerics.projection, &numerics.attention_output, &numerics.expert_in, &numerics.expert_down})
    if (linear->tensor_core && linear->fprop.left.scaled()) layers.push_back(linear);
  return layers;
}

// Which operands of a linear layer's three products a section speaks of.
using Operands = std::function<std::vector<ops::OperandNumerics*>(ops::LinearNumerics&)>;

void read_operand(const ConfigReader& reader, const std::vector<ops::LinearNumerics*>& layers, const Operands& of) {
  const auto change = [&](const std::function<void(ops::OperandNumerics&)>& edit) {
    for (ops::LinearNumerics* layer : layers)
      for (ops::OperandNumerics* operand : of(*layer)) edit(*operand);
  };
  if (reader.has("format")) {
    const numerics::Format format = numerics::require_format(reader.require_one_of("format", {"e4m3", "e5m2"}));
    change([&](ops::OperandNumerics& operand) { operand.format = operand.rule.format = format; });
  }
  if (reader.has("tile")) {
    const auto tile = reader.require<std::string>("tile");
    static_cast<void>(numerics::find_scale_tile(tile, 1, 1));  // refuses what is not one
    change([&](ops::OperandNumerics& operand) { operand.tile = tile; });
  }
  if (reader.has("scale")) {
    const auto scale = numerics::find_scale_kind(reader.require_one_of("scale", {"fp32", "ue8m0"}));
    change([&](ops::OperandNumerics& operand) { operand.rule.scale = scale; });
  }
  if (reader.has("method")) {
    const auto method = numerics::find_quantize_method(reader.require_one_of("method", {"division", "reciprocal"}));
    change([&](ops::OperandNumerics& operand) { operand.rule.method = method; });
  }
  if (reader.has("zero_block")) {
    const auto zero_block = numerics::find_zero_block(reader.require_one_of("zero_block", {"one", "epsilon"}));
    change([&](ops::OperandNumerics& operand) { operand.rule.zero_block = zero_block; });
  }
  if (reader.has("amax_epsilon")) {
    const auto epsilon = static_cast<float>(reader.require_in("amax_epsilon", 1e-30, 1e30));
    change([&](ops::OperandNumerics& operand) { operand.rule.amax_epsilon = epsilon; });
  }
  if (reader.has("delayed_steps")) {
    const auto steps = static_cast<std::size_t>(reader.require_in("delayed_steps", std::int64_t{0}, kMostSteps));
    change([&](ops::OperandNumerics& operand) { operand.delayed_steps = steps; });
  }
  change([&](const ops::OperandNumerics& operand) {
    if (operand.delayed_steps > 0 && operand.tile != "tensor")
      reader.fail("tile", "tensor: a scale of the steps before is one for the whole tensor");
    if (operand.delayed_steps > 0 && operand.rule.method != numerics::QuantizeMethod::kDivision)
      reader.fail("method", "division: values are divided by a scale of the steps before");
  });
  reader.finish();
}

void read_products(const ConfigReader& reader, const std::vector<ops::LinearNumerics*>& layers) {
  std::optional<numerics::Unit> unit;
  if (reader.has("unit")) unit = io::find_unit(reader.require<std::string>("unit"));
  for (ops::LinearNumerics* layer : layers)
    for (ops::ProductNumerics* product : {&layer->fprop, &layer->dgrad, &layer->wgrad}) {
      if (reader.has("promotion"))
        product->promotion.order =
            numerics::find_promotion(reader.require_one_of("promotion", {"deepgemm", "cublas", "muladd"}));
      if (reader.has("every")) product->promotion.every = reader.require_in("every", std::int64_t{1}, kMostElements);
      const numerics::Format left = product->left.format;
      const numerics::Format right = product->right.format;
      if (unit) {
        product->rule = numerics::rule_of(*unit, left, right, numerics::Format::kF32);
      } else {  // a unit has one rule for all its FP8 types
        product->rule.a = left;
        product->rule.b = right;
      }
      if (product->promotion.every % product->rule.step_k != 0)
        reader.fail("every", fmt::format("a multiple of the unit's step, {}", product->rule.step_k));
    }
}

void read_caches(const ConfigReader& reader, ops::Numerics& numerics, const std::vector<ops::LinearNumerics*>& layers) {
  if (reader.has("wgrad_input")) {
    const bool values = reader.require_one_of("wgrad_input", {"requantised", "values"}) == "values";
    for (ops::LinearNumerics* layer : layers)
      layer->wgrad_input = values ? ops::WgradInput::kFromValues : ops::WgradInput::kRequantised;
  }
  numerics.attention_output.e5m6_cache =
      reader.get_or<bool>("attention_output_e5m6", numerics.attention_output.e5m6_cache);
  numerics.fp8_swiglu_cache = reader.get_or<bool>("fp8_swiglu_cache", numerics.fp8_swiglu_cache);
}

}  // namespace

ops::Numerics find_numerics(const std::string& name_or_file) {
  if (!name_or_file.ends_with(".toml") && !name_or_file.ends_with(".json")) return ops::numerics_by_name(name_or_file);
  const ConfigReader reader(io::load_config_file(name_or_file), name_or_file);
  ops::Numerics numerics = ops::numerics_by_name(reader.require_one_of("base", ops::policy_names()));
  numerics.name = name_or_file;
  numerics.bf16_attention_weights = reader.get_or<bool>("bf16_attention_weights", numerics.bf16_attention_weights);
  if (numerics.bf16_attention_weights && numerics.values != ops::Values::kBF16)
    reader.fail("bf16_attention_weights", "false over a base whose values are not BF16");
  const std::vector<ops::LinearNumerics*> layers = fp8_layers(numerics);
  const auto operands = std::array<std::pair<const char*, Operands>, 3>{{
      {"activation",
       [](ops::LinearNumerics& l) {
         return std::vector{&l.fprop.left, &l.wgrad.right};
       }},
      {"weight",
       [](ops::LinearNumerics& l) {
         return std::vector{&l.fprop.right, &l.dgrad.right};
       }},
      {"gradient",
       [](ops::LinearNumerics& l) {
         return std::vector{&l.dgrad.left, &l.wgrad.left};
       }},
  }};
  if (layers.empty()) {
    for (const char* key : {"unit", "promotion", "every", "wgrad_input", "attention_output_e5m6", "fp8_swiglu_cache",
                            "activation", "weight", "gradient"})
      if (reader.has(key)) reader.fail(key, "no such key: the base has no FP8 products");
    reader.finish();
    return numerics;
  }
  for (const auto& [section, of] : operands)
    if (const auto object = reader.optional_object(section)) read_operand(*object, layers, of);
  read_products(reader, layers);
  read_caches(reader, numerics, layers);
  reader.finish();
  return numerics;
}

}  // namespace lastbit::model

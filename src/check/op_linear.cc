// Linear layers under any numerics policy.
#include <fmt/ranges.h>

#include <algorithm>
#include <span>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "model/numerics_file.h"
#include "ops/linear.h"
#include "ops/numerics.h"

namespace lastbit::check {
namespace {

using ops::LinearNumerics;
using ops::Numerics;
using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

struct LayerNumerics {
  Numerics policy;
  LinearNumerics layer;
  bool settles = false;
};

LayerNumerics layer_numerics(const OpArguments& in) {
  const bool wide = in.dtype() == DType::kF64;
  const std::string& name = in.text("numerics");
  LayerNumerics numerics{
      name.empty() ? ops::numerics_by_name(wide ? "fp64" : "fp32") : model::find_numerics(name), {}, in.flag("settle")};
  if (ops::value_dtype(numerics.policy) != in.dtype())
    core::fail_input("{}: inputs are {}, expected {} for the numerics {}", in.op(), tensor::name(in.dtype()),
                     tensor::name(ops::value_dtype(numerics.policy)), numerics.policy.name);
  using Member = LinearNumerics Numerics::*;
  numerics.layer = numerics.policy.*in.choice<Member>("layer", {{"projection", &Numerics::projection},
                                                                {"attention_output", &Numerics::attention_output},
                                                                {"expert_in", &Numerics::expert_in},
                                                                {"expert_down", &Numerics::expert_down},
                                                                {"router", &Numerics::router},
                                                                {"head", &Numerics::head}});
  return numerics;
}

Tensor settled(Tensor result, const LayerNumerics& numerics) {
  if (numerics.settles) ops::settle(result, numerics.policy);
  return result;
}

// Offsets of the rows' groups, checked.
ops::GroupOffsets group_offsets(const OpArguments& in) {
  const auto values = in.tensor("offsets").values<std::int64_t>();
  const std::int64_t rows = in.size("rows");
  in.require_range("offsets", 0, rows + 1);
  if (values.front() != 0 || values.back() != rows || !std::ranges::is_sorted(values))
    core::fail_input("{}: offsets from {} to {}, expected them to rise from 0 to the {} rows", in.op(), values.front(),
                     values.back(), rows);
  return {values.begin(), values.end()};
}

NamedTensors run_linear(const OpArguments& in) {
  const LayerNumerics numerics = layer_numerics(in);
  const ops::LinearSite site{in.op(), nullptr};
  const Tensor& weight = in.tensor("weight");
  const Tensor* bias = in.find("bias");
  const ops::LinearInput x(in.tensor("x"), numerics.layer, site);
  NamedTensors out{{"y", settled(ops::linear(x, weight, numerics.layer, site, bias), numerics)}};
  const Tensor* dy = in.find("dy");
  if (dy == nullptr) return out;
  out.emplace("dx", settled(ops::linear_dgrad(*dy, weight, numerics.layer, site), numerics));
  Tensor dweight = Tensor::zeros(in.dtype(), weight.shape());
  Tensor dbias = Tensor::zeros(in.dtype(), {in.size("out")});
  ops::linear_wgrad(*dy, x, dweight, numerics.layer, site, bias == nullptr ? nullptr : &dbias);
  out.emplace("dweight", dweight);
  if (bias != nullptr) out.emplace("dbias", dbias);
  return out;
}

NamedTensors run_grouped_linear(const OpArguments& in) {
  const LayerNumerics numerics = layer_numerics(in);
  const ops::LinearSite site{in.op(), nullptr};
  const ops::GroupOffsets offsets = group_offsets(in);
  const Tensor& stacked = in.tensor("weights");
  const tensor::Shape one{in.size("out"), in.size("in")};
  std::vector<Tensor> weights;
  std::vector<Tensor> dweights;
  for (std::int64_t g = 0; g < in.size("groups"); ++g) {
    weights.push_back(stacked.slice(0, g, g + 1).contiguous().reshape(one));
    dweights.push_back(Tensor::zeros(in.dtype(), one));
  }
  const ops::LinearInput x(in.tensor("x"), numerics.layer, site, offsets);
  NamedTensors out{{"y", settled(ops::grouped_linear(x, weights, numerics.layer, site), numerics)}};
  const Tensor* dy = in.find("dy");
  if (dy == nullptr) return out;
  out.emplace("dx", settled(ops::grouped_linear_dgrad(*dy, offsets, weights, numerics.layer, site), numerics));
  ops::grouped_linear_wgrad(*dy, x, dweights, numerics.layer, site);
  Tensor all = Tensor::empty(in.dtype(), stacked.shape());
  auto target = all.mutable_bytes().begin();
  for (const Tensor& dweight : dweights) target = std::ranges::copy(dweight.bytes(), target).out;
  out.emplace("dweights", all);
  return out;
}

std::vector<OpSetting> linear_settings() {
  return {text_setting("numerics", "",
                       fmt::format("{}; or FILE.toml (default: fp32 or fp64, as the inputs)",
                                   fmt::join(ops::policy_names(), ", "))),
          choice_setting("layer", {"projection", "attention_output", "expert_in", "expert_down", "router", "head"},
                         "which of the policy's layers this is"),
          flag_setting("settle", false, "round y and dx to what the policy's operators exchange (bf16)")};
}

}  // namespace

std::vector<OpEntry> linear_ops() {
  const OpElements kFloat = OpElements::kFloat;
  return {{"linear",
           "y = x weight^T + bias, with dgrad and wgrad",
           {{"x", kFloat, "[..., in]", "the layer's input"},
            {"weight", kFloat, "[out, in]", "as torch.nn.Linear has it"},
            {"bias", kFloat, "[out]", "added after the product", false},
            {"dy", kFloat, "[..., out]", "gradient of y", false}},
           linear_settings(),
           {{"y", "[..., out]", "fprop"},
            {"dx", "[..., in]", "with dy: dgrad"},
            {"dweight", "[out, in]", "with dy: wgrad"},
            {"dbias", "[out]", "with dy and bias"}},
           run_linear},
          {"grouped_linear",
           "A linear layer for each group of rows, as experts are",
           {{"x", kFloat, "[rows, in]", "rows in group order"},
            {"weights", kFloat, "[groups, out, in]", "one weight a group"},
            {"offsets", OpElements::kIndex, "[groups+1]", "group g has the rows offsets[g] to offsets[g + 1] - 1"},
            {"dy", kFloat, "[rows, out]", "gradient of y", false}},
           linear_settings(),
           {{"y", "[rows, out]", "fprop"},
            {"dx", "[rows, in]", "with dy: dgrad"},
            {"dweights", "[groups, out, in]", "with dy: wgrad"}},
           run_grouped_linear}};
}

}  // namespace lastbit::check

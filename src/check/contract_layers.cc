// RMSNorm and rotary embedding.
#include <cmath>

#include "check/contract_families.h"
#include "check/op_arguments.h"
#include "core/error.h"
#include "core/philox.h"
#include "numerics/elementary.h"
#include "ops/rms_norm.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

std::vector<double> doubles_of(const Tensor& tensor) {
  const Tensor values = wide(tensor);
  return {values.values<double>().begin(), values.values<double>().end()};
}

// ---- RMSNorm

NamedTensors draw_rms_norm(const DrawRequest& request) {
  const std::int64_t tokens = request.size(0);
  const std::int64_t d = request.size(1);
  return {{"x", draw_activations(request.family, DType::kBF16, {tokens, d}, request.seed, "x")},
          {"weight", draw_activations("normal", DType::kBF16, {d}, request.seed, "weight")}};
}

ExpectedOutputs expect_rms_norm(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor& x = input(inputs, "x");
  Tensor weight = wide(input(inputs, "weight"));
  if (settings.fault("weight") == "plus_one")
    for (double& w : weight.mutable_values<double>()) w += 1;
  Tensor y = ops::rms_norm(wide(x), weight, settings.fault("eps") == "0" ? 0 : settings.number("eps"));
  if (settings.fault("round") == "before_weight") {
    Tensor ones = Tensor::empty(DType::kF64, weight.shape());
    for (double& one : ones.mutable_values<double>()) one = 1;
    y = wide(rounded(doubles_of(ops::rms_norm(wide(x), ones, settings.number("eps"))), DType::kBF16, x.shape()));
    const auto w = weight.values<double>();
    auto values = y.mutable_values<double>();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] *= w[i % w.size()];
  }
  const DType type = dtype_named(settings.text("y_type"));
  const double relative = (static_cast<double>(weight.size()) / 2 + 6) * kUnitF32;
  std::vector<float> bound;
  for (const double value : y.values<double>())
    bound.push_back(rounding_bound(value, relative * std::abs(value), type));
  return {{"y", {rounded(doubles_of(y), type, x.shape()), Tensor::from<float>(x.shape(), bound)}}};
}

std::vector<Alternative> rms_norm_alternatives(const ContractSettings&) {
  return {{"weight + 1 for the weight", {{"weight", "plus_one"}}},
          {"eps left out", {{"eps", "0"}}},
          {"the normalised values rounded to BF16 before the weight", {{"round", "before_weight"}}}};
}

Contract rms_norm_contract() {
  Contract contract{"rms_norm", "y = weight * x / sqrt(mean(x^2) + eps) over the last axis"};
  contract.axes = {"tokens", "d"};
  contract.inputs = {{"x", "bf16", "[tokens, d]", "values"}, {"weight", "bf16", "[d]", "gain"}};
  contract.outputs = {{{"y", "=y_type", "[tokens, d]", "the result"},
                       ToleranceClass::kBand,
                       0,
                       "in FP32 the mean is off by at most d 2^-24 of itself in any order, its root by half of that, "
                       "with six more roundings: a result is right if it is the rounding to BF16 of a number that near "
                       "to the exact one; nearly always that is one number, sometimes two neighbours"}};
  contract.settings = {number_setting("eps", "1e-6", 0, 1, "added to the mean square"),
                       choice_setting("y_type", {"bf16"}, "format of y")};
  contract.shapes = {{1, 1}, {3, 7}, {17, 512}, {5, 7168}};
  contract.families = {"normal", "outlier", "cancelling", "sparse", "zero_rows", "constant", "subnormal"};
  contract.draw = draw_rms_norm;
  contract.expect = expect_rms_norm;
  contract.alternatives = rms_norm_alternatives;
  return contract;
}

// ---- RoPE

NamedTensors draw_rope(const DrawRequest& request) {
  const std::int64_t tokens = request.size(0);
  const std::int64_t heads = request.size(1);
  const std::int64_t half = request.size(2) / 2;
  if (half * 2 != request.size(2)) core::fail_input("rope: dim = {}, expected an even number", request.size(2));
  const core::RandomStream stream(request.seed, "angle");
  std::vector<float> cosines;
  std::vector<float> sines;
  for (std::int64_t i = 0; i < tokens * half; ++i) {
    const double angle = 6.283185307179586 * static_cast<double>(stream.uniform(static_cast<std::uint64_t>(i)));
    cosines.push_back(static_cast<float>(numerics::cos(angle)));
    sines.push_back(static_cast<float>(numerics::sin(angle)));
  }
  return {{"x", draw_activations(request.family, DType::kBF16, {tokens, heads, 2 * half}, request.seed, "x")},
          {"cos", Tensor::from<float>({tokens, half}, cosines)},
          {"sin", Tensor::from<float>({tokens, half}, sines)}};
}

ExpectedOutputs expect_rope(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor& tensor = input(inputs, "x");
  const std::vector<double> x = doubles_of(tensor);
  const std::vector<double> cosine = doubles_of(input(inputs, "cos"));
  const std::vector<double> sine = doubles_of(input(inputs, "sin"));
  const std::string& layout = settings.text("layout");
  const std::int64_t heads = tensor.dim(1);
  const std::int64_t dim = tensor.dim(2);
  const double direction = settings.fault("direction") == "back" ? -1 : 1;
  std::vector<double> y(x.size());
  std::vector<float> bound(x.size());
  for (std::int64_t row = 0; row < tensor.dim(0) * heads; ++row)
    for (std::int64_t j = 0; j < dim / 2; ++j) {
      const bool halves = layout == "half_split";
      const auto first = static_cast<std::size_t>(row * dim + (halves ? j : 2 * j));
      const std::size_t second = first + static_cast<std::size_t>(halves ? dim / 2 : 1);
      const auto at = static_cast<std::size_t>(row / heads * (dim / 2) + j);
      const double c = cosine[at];
      const double s = direction * sine[at];
      const bool move = layout == "interleaved_to_halves";
      const std::size_t to_first = move ? static_cast<std::size_t>(row * dim + j) : first;
      const std::size_t to_second = move ? to_first + static_cast<std::size_t>(dim / 2) : second;
      y[to_first] = x[first] * c - x[second] * s;
      y[to_second] = x[second] * c + x[first] * s;
      // Two products and a sum in FP32, with or without FMA, then one rounding to BF16.
      const auto band = [&](double a, double b, double value) {
        return rounding_bound(value, 3 * kUnitF32 * (std::abs(a) + std::abs(b)), DType::kBF16);
      };
      bound[to_first] = band(x[first] * c, x[second] * s, y[to_first]);
      bound[to_second] = band(x[second] * c, x[first] * s, y[to_second]);
    }
  return {{"y", {rounded(y, DType::kBF16, tensor.shape()), Tensor::from<float>(tensor.shape(), bound)}}};
}

std::vector<Alternative> rope_alternatives(const ContractSettings& settings) {
  std::vector<Alternative> all{{"the turn backwards (-sin for sin)", {{"direction", "back"}}}};
  for (const char* layout : {"half_split", "interleaved", "interleaved_to_halves"})
    if (layout != settings.text("layout")) all.push_back({fmt::format("layout {}", layout), {{"layout", layout}}});
  return all;
}

Contract rope_contract() {
  Contract contract{"rope", "Rotary embedding: pairs (a, b) become (a cos - b sin, b cos + a sin)"};
  contract.axes = {"tokens", "heads", "dim"};
  contract.inputs = {{"x", "bf16", "[tokens, heads, dim]", "values"},
                     {"cos", "f32", "[tokens, dim/2]", "of each token's angles"},
                     {"sin", "f32", "[tokens, dim/2]", "likewise"}};
  contract.outputs = {{{"y", "bf16", "[tokens, heads, dim]", "turned"},
                       ToleranceClass::kBand,
                       0,
                       "two products and a sum in FP32: 3 x 2^-24 (|a cos| + |b sin|), which a sum that cancels keeps; "
                       "right is the rounding to BF16 of any number within that of the exact one"}};
  contract.settings = {choice_setting("layout", {"half_split", "interleaved", "interleaved_to_halves"},
                                      "pairs (j, j + dim/2), (2j, 2j + 1), or the latter moved to (j, j + dim/2)")};
  contract.shapes = {{1, 1, 2}, {5, 3, 64}, {33, 16, 64}};
  contract.families = {"normal", "outlier", "cancelling", "sparse", "zero_rows", "constant", "subnormal"};
  contract.draw = draw_rope;
  contract.expect = expect_rope;
  contract.alternatives = rope_alternatives;
  return contract;
}

}  // namespace

std::vector<Contract> layer_contracts() { return {rms_norm_contract(), rope_contract()}; }

}  // namespace lastbit::check

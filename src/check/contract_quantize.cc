// Casts and block-scaled quantisation, also behind SwiGLU.
#include <algorithm>
#include <cmath>

#include "check/contract_families.h"
#include "check/input_families.h"
#include "check/op_arguments.h"
#include "core/error.h"
#include "numerics/elementary.h"
#include "numerics/quantize.h"
#include "tensor/cast.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

// ---- cast

NamedTensors draw_cast(const DrawRequest& request) {
  const DType dtype = dtype_named(request.settings.text("x_type"));
  const std::int64_t count = request.size(0);
  if (request.family != "saturating") return {{"x", draw_values(request.family, dtype, {count}, request.seed, "x")}};
  // Around the target's largest number rather than the source's.
  const numerics::Format target = *numerics::find_format(request.settings.text("to"));
  const numerics::FormatDescriptor& format = numerics::describe(target);
  const float largest = numerics::decode(format.max_finite_code() << format.code_shift, target);
  std::vector<float> x = floats_of(draw_values("normal", DType::kF32, {count}, request.seed, "x"));
  for (float& value : x) value = std::copysign(largest * (1.0F + 0.02F * value), value);
  return {{"x", tensor::cast(Tensor::from<float>({count}, x), dtype)}};
}

ExpectedOutputs expect_cast(const NamedTensors& inputs, const ContractSettings& settings) {
  const numerics::Format target = *numerics::find_format(settings.text("to"));
  const bool cuda = settings.text("convention") == "cuda";
  numerics::EncodeOptions options =
      numerics::default_encode_options(target, cuda ? numerics::Convention::kCuda : numerics::Convention::kMlDtypes);
  if (settings.text("rounding") == "zero") options.rounding = numerics::Rounding::kTowardZero;
  if (settings.fault("overflow") == "none") options.overflow = numerics::Overflow::kNone;
  if (settings.fault("overflow") == "saturate") options.overflow = numerics::Overflow::kSaturate;
  const Tensor x = tensor::to_f32(input(inputs, "x"));
  if (settings.fault("by") == "f16")
    return {{"codes", {tensor::cast(tensor::cast(x, DType::kF16), dtype_named(settings.text("to")), options)}}};
  return {{"codes", {tensor::cast(x, dtype_named(settings.text("to")), options)}}};
}

std::vector<Alternative> cast_alternatives(const ContractSettings& settings) {
  const bool cuda = settings.text("convention") == "cuda";
  std::vector<Alternative> all{
      {cuda ? "ml_dtypes casts (overflow to NaN or Inf, NaN with its sign)" : "CUDA's casts (satfinite, NaN 0x7f)",
       {{"convention", cuda ? "ml_dtypes" : "cuda"}}},
      {"overflow to NaN or Inf", {{"overflow", "none"}}},
      {"overflow to the largest number", {{"overflow", "saturate"}}},
      {"values rounded to FP16 first", {{"by", "f16"}}}};
  all.push_back(settings.text("rounding") == "nearest" ? Alternative{"rounding toward zero", {{"rounding", "zero"}}}
                                                       : Alternative{"rounding to nearest", {{"rounding", "nearest"}}});
  return all;
}

// ---- quantise

numerics::QuantizeRule rule_of_settings(const ContractSettings& settings, numerics::ScaleTile tile) {
  numerics::QuantizeRule rule;
  rule.format = *numerics::find_format(settings.text("format"));
  rule.tile = tile;
  rule.scale = numerics::find_scale_kind(settings.text("scale"));
  rule.method = numerics::find_quantize_method(settings.text("method"));
  rule.zero_block = numerics::find_zero_block(settings.text("zero_block"));
  rule.amax_epsilon = static_cast<float>(settings.number("amax_epsilon"));
  return rule;
}

NamedTensors draw_matrix(const DrawRequest& request) {
  const DType dtype = dtype_named(request.settings.text("x_type"));
  return {{"x", draw_values(request.family, dtype, {request.size(0), request.size(1)}, request.seed, "x")}};
}

ExpectedOutputs quantized_outputs(const numerics::Quantized& quantized) {
  const numerics::ScaleShape shape = numerics::scale_shape(quantized.matrix(), quantized.tile);
  Tensor codes = Tensor::empty(quantized.format == numerics::Format::kE4M3 ? DType::kE4M3 : DType::kE5M2,
                               {quantized.rows, quantized.cols});
  std::ranges::copy(quantized.codes, codes.mutable_bytes().begin());
  return {{"codes", {codes}}, {"scales", {Tensor::from<float>({shape.rows, shape.columns}, quantized.scales)}}};
}

// Codes that a fault of the conversion would give under the same scales.
void recode(numerics::Quantized& quantized, const std::vector<float>& x, const std::string& fault) {
  if (fault.empty()) return;
  numerics::EncodeOptions options = numerics::default_encode_options(quantized.format);
  if (fault == "zero") options.rounding = numerics::Rounding::kTowardZero;
  const std::int64_t columns = numerics::scale_shape(quantized.matrix(), quantized.tile).columns;
  for (std::int64_t i = 0; i < quantized.rows * quantized.cols; ++i) {
    const std::int64_t row = i / quantized.cols;
    const std::int64_t col = i % quantized.cols;
    const float scale =
        quantized.scales[static_cast<std::size_t>(row / quantized.tile.rows * columns + col / quantized.tile.k)];
    const auto at = static_cast<std::size_t>(i);
    quantized.codes[at] = static_cast<std::byte>(numerics::encode(x[at] / scale, quantized.format, options));
  }
}

ExpectedOutputs expect_quantize(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor& x = input(inputs, "x");
  std::vector<float> values = floats_of(x);
  const bool transpose = settings.flag("transpose");
  numerics::FloatMatrix matrix{values, x.dim(0), x.dim(1)};
  const numerics::QuantizeRule rule =
      rule_of_settings(settings, numerics::find_scale_tile(settings.text("tile"), transpose ? matrix.cols : matrix.rows,
                                                           transpose ? matrix.rows : matrix.cols));
  numerics::Quantized quantized =
      transpose ? numerics::quantize_transposed(matrix, rule, "x") : numerics::quantize(matrix, rule, "x");
  if (!transpose) recode(quantized, values, settings.fault("codes"));
  return quantized_outputs(quantized);
}

std::vector<Alternative> quantize_alternatives(const ContractSettings& settings) {
  std::vector<Alternative> all;
  const auto other = [&](const char* key, const char* one, const char* two, const char* of_one, const char* of_two) {
    const bool first = settings.text(key) == one;
    all.push_back({first ? of_two : of_one, {{key, first ? two : one}}});
  };
  other("method", "division", "reciprocal", "division by the scale", "multiplication by the reciprocal");
  other("zero_block", "one", "epsilon", "scale 1 for a block of zeros", "amax clamped to amax_epsilon");
  other("scale", "fp32", "ue8m0", "FP32 scales", "scales rounded up to powers of two (UE8M0)");
  all.push_back({"multiplication by the reciprocal, amax clamped to amax_epsilon",
                 {{"method", "reciprocal"}, {"zero_block", "epsilon"}}});
  all.push_back({"codes rounded toward zero", {{"codes", "zero"}}});
  return all;
}

// ---- SwiGLU, then quantise

NamedTensors draw_gate_up(const DrawRequest& request) {
  const Shape shape{request.size(0), request.size(1)};
  return {{"gate", draw_activations(request.family, DType::kBF16, shape, request.seed, "gate")},
          {"up", draw_activations(request.family, DType::kBF16, shape, request.seed, "up")}};
}

// silu(gate) * up in double, rounded to BF16 where asked for, as FP32.
std::vector<float> swiglu_values(const NamedTensors& inputs, bool to_bf16) {
  const std::vector<float> gate = floats_of(input(inputs, "gate"));
  const std::vector<float> up = floats_of(input(inputs, "up"));
  std::vector<double> product(gate.size());
  for (std::size_t i = 0; i < gate.size(); ++i)
    product[i] = numerics::silu(static_cast<double>(gate[i])) * static_cast<double>(up[i]);
  return floats_of(rounded(product, to_bf16 ? DType::kBF16 : DType::kF32, input(inputs, "gate").shape()));
}

ExpectedOutputs expect_swiglu_quantize(const NamedTensors& inputs, const ContractSettings& settings) {
  const std::vector<float> values = swiglu_values(inputs, settings.text("between") == "bf16");
  const Tensor& gate = input(inputs, "gate");
  ExpectedOutputs outputs = quantized_outputs(numerics::quantize(
      {values, gate.dim(0), gate.dim(1)}, rule_of_settings(settings, {1, numerics::kScaleBlock}), "swiglu"));
  // An element may be the BF16 number beside the reference's: 2^-7 of it at most, and so may a block's largest.
  const Tensor& scales = outputs.at("scales").value;
  std::vector<float> bound;
  for (const float scale : scales.values<float>())
    bound.push_back((settings.text("between") == "bf16" ? 0x1p-7F : 0x1p-20F) * scale);
  outputs.at("scales").bound = Tensor::from<float>(scales.shape(), bound);
  return outputs;
}

std::vector<Alternative> swiglu_alternatives(const ContractSettings& settings) {
  std::vector<Alternative> all = quantize_alternatives(settings);
  all.pop_back();
  const bool bf16 = settings.text("between") == "bf16";
  all.push_back({bf16 ? "the product not rounded to BF16 before it is quantised"
                      : "the product rounded to BF16 before it is quantised",
                 {{"between", bf16 ? "f32" : "bf16"}}});
  return all;
}

// ---- the entries

std::vector<std::string> finite_families() {
  std::vector<std::string> all;
  for (const InputFamily family : input_families())
    if (family != InputFamily::kSpecials) all.emplace_back(to_string(family));
  return all;
}

std::vector<OpSetting> quantize_settings(const std::vector<std::string>& scale_kinds) {
  return {choice_setting("format", {"e4m3", "e5m2"}, "of the codes"),
          choice_setting("scale", scale_kinds, "ue8m0: a power of two"),
          choice_setting("method", {"division", "reciprocal"},
                         "x / s, or x (largest / amax), that factor at most the largest FP32 number"),
          choice_setting("zero_block", {"one", "epsilon"}, "scale of zeros 1, or amax at least amax_epsilon"),
          number_setting("amax_epsilon", "1e-4", kSmallFactor, kLargeFactor, "with zero_block=epsilon")};
}

constexpr const char* kQuantizeBits =
    "amax is exact, the scale one division, the code one division or product and one rounding: all of them are IEEE "
    "operations, so the bits are determined";

Contract cast_contract() {
  Contract contract{"cast", "Values rounded to codes"};
  contract.axes = {"n"};
  contract.inputs = {{"x", "=x_type", "[n]", "values"}};
  contract.outputs = {{{"codes", "=to", "[n]", "codes"},
                       ToleranceClass::kBitwise,
                       0,
                       "one rounding by a rule with a name; NaNs of different bits are told apart in 8-bit formats"}};
  contract.settings = {choice_setting("to", {"e4m3", "e5m2", "bf16", "f16", "e4m3fnuz", "e5m2fnuz"}, "target"),
                       choice_setting("x_type", {"f32", "bf16"}, "source"),
                       choice_setting("convention", {"cuda", "ml_dtypes"}, "of overflow and NaN"),
                       choice_setting("rounding", {"nearest", "zero"}, "to nearest even, or toward zero")};
  contract.shapes = {{1}, {4099}};
  for (const InputFamily family : input_families()) contract.families.emplace_back(to_string(family));
  contract.draw = draw_cast;
  contract.expect = expect_cast;
  contract.alternatives = cast_alternatives;
  return contract;
}

Contract quantize_contract(const std::string& tile, const std::string& scales) {
  Contract contract{"quantize_" + tile, fmt::format("Codes with one scale for {} elements; with transpose=true of the "
                                                    "transposed matrix, tiles along its rows",
                                                    tile)};
  contract.axes = {"rows", "cols"};
  contract.inputs = {{"x", "=x_type", "[rows, cols]", "values"}};
  contract.outputs = {{{"codes", "=format", "[rows, cols]", "codes"}, ToleranceClass::kBitwise, 0, kQuantizeBits},
                      {{"scales", "f32", scales, "x ~ code * scale"}, ToleranceClass::kBitwise, 0, kQuantizeBits}};
  contract.settings = quantize_settings({"fp32", "ue8m0"});
  contract.settings.push_back(choice_setting("x_type", {"bf16", "f32"}, "source"));
  contract.settings.push_back(flag_setting("transpose", false, "of the transposed matrix: codes are [cols, rows]"));
  contract.settings.push_back(choice_setting("tile", {tile}, "elements under one scale"));
  contract.shapes = {{1, 1}, {3, 128}, {64, 384}, {130, 300}, {257, 1000}};
  contract.families = finite_families();
  contract.draw = draw_matrix;
  contract.expect = expect_quantize;
  contract.alternatives = quantize_alternatives;
  return contract;
}

Contract swiglu_contract() {
  Contract contract{"swiglu_quantize_1x128", "silu(gate) * up, then codes with one scale for 1 x 128"};
  contract.axes = {"rows", "cols"};
  contract.inputs = {{"gate", "bf16", "[rows, cols]", "values"}, {"up", "bf16", "[rows, cols]", "values"}};
  contract.outputs = {
      {{"codes", "=format", "[rows, cols]", "codes"},
       ToleranceClass::kUlp,
       1,
       "exp() is not determined to the bit: a product may be the number beside the reference's, 2^-7 off in BF16, and "
       "the scale likewise, together less than half a step of 2^-3 between codes: one code at most"},
      {{"scales", "f32", "[rows, ceil(cols/128)]", "product ~ code * scale"},
       ToleranceClass::kBand,
       0,
       "the largest product of a block may be the BF16 number beside the reference's: 2^-7 of the scale (2^-20 where "
       "the product stays in FP32, four operations of 2^-24 and exp() of 2 ulp)"}};
  contract.settings = quantize_settings({"fp32"});
  contract.settings.push_back(choice_setting("between", {"bf16", "f32"}, "what the product is rounded to"));
  contract.shapes = {{1, 1}, {5, 128}, {33, 300}, {64, 512}};
  contract.families = {"normal", "outlier", "cancelling", "sparse", "zero_rows", "constant"};
  contract.draw = draw_gate_up;
  contract.expect = expect_swiglu_quantize;
  contract.alternatives = swiglu_alternatives;
  return contract;
}

}  // namespace

std::vector<Contract> quantize_contracts() {
  return {cast_contract(), quantize_contract("1x128", "[rows, ceil(cols/128)]"),
          quantize_contract("128x128", "[ceil(rows/128), ceil(cols/128)]"), swiglu_contract()};
}

}  // namespace lastbit::check

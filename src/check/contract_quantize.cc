// Casts and block-scaled quantisation, also behind SwiGLU.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check/contract_families.h"
#include "check/input_families.h"
#include "check/op_arguments.h"
#include "core/error.h"
#include "core/philox.h"
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

// NaNs and infinities of both signs, every other NaN a quiet one, among normal numbers.
Tensor draw_nan_payloads(const DrawRequest& request, DType dtype) {
  const std::int64_t count = request.size(0);
  Tensor x = draw_values("normal", dtype, {count}, request.seed, "x").clone();
  const core::RandomStream stream(request.seed, "payload");
  const numerics::FormatDescriptor& format = numerics::describe(*tensor::format_of(dtype));
  const std::uint32_t fractions = (1U << format.fraction_bits) - 1;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t word = stream.word(static_cast<std::uint64_t>(i));
    if (i % 3 == 1) continue;
    const std::uint32_t payload = i % 7 == 0 ? 0 : std::max(word >> 3 & fractions, 1U);
    const std::uint32_t code = ((word & 1) << (format.exponent_bits + format.fraction_bits)) |
                               (((1U << format.exponent_bits) - 1) << format.fraction_bits) | payload;
    std::memcpy(x.mutable_bytes().data() + static_cast<std::size_t>(i) * tensor::size_of(dtype), &code,
                tensor::size_of(dtype));
  }
  return x;
}

// Midpoints of neighbouring codes of the target, and the FP32 numbers next to them.
Tensor draw_halfway(const DrawRequest& request, DType dtype) {
  const std::int64_t count = request.size(0);
  const core::RandomStream stream(request.seed, "halfway");
  const numerics::Format target = *numerics::find_format(request.settings.text("to"));
  const std::uint32_t largest = numerics::describe(target).max_finite_code();
  std::vector<float> x;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t word = stream.word(static_cast<std::uint64_t>(i));
    const std::uint32_t code = (word >> 1) % largest;
    const float middle = numerics::decode(code, target) / 2 + numerics::decode(code + 1, target) / 2;
    const float next[] = {middle, std::nextafter(middle, 0.0F), middle,
                          std::nextafter(middle, std::numeric_limits<float>::infinity())};
    x.push_back((word & 1) != 0 ? -next[i % 4] : next[i % 4]);
  }
  return tensor::cast(Tensor::from<float>({count}, x), dtype);
}

NamedTensors draw_cast(const DrawRequest& request) {
  const DType dtype = dtype_named(request.settings.text("x_type"));
  const std::int64_t count = request.size(0);
  if (request.family == "nan_payloads") return {{"x", draw_nan_payloads(request, dtype)}};
  if (request.family == "halfway") return {{"x", draw_halfway(request, dtype)}};
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

// silu(gate) * up in double, and the magnitudes that its rounding to `type` may have: a fast exp() is within
// 2 + 1.2 |gate| ulp of FP32, four operations make six more at most.
struct Product {
  double value;
  double low;
  double high;
};
std::vector<Product> swiglu_products(const NamedTensors& inputs, DType type) {
  const std::vector<float> gate = floats_of(input(inputs, "gate"));
  const std::vector<float> up = floats_of(input(inputs, "up"));
  std::vector<Product> products;
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const auto x = static_cast<double>(gate[i]);
    const double value = numerics::silu(x) * static_cast<double>(up[i]);
    const double relative = (8 + 1.2 * std::abs(x)) * 2 * kUnitF32;
    products.push_back(
        {value, nearest(std::abs(value) * (1 - relative), type), nearest(std::abs(value) * (1 + relative), type)});
  }
  return products;
}

// Bounds of one block's codes and of its scale: nothing but the reference's where the roundings of its products are
// certain, else what their ranges allow.
void bound_block(std::span<const Product> block, numerics::Format format, float scale, std::vector<float>& of_codes,
                 std::vector<float>& of_scales) {
  constexpr double kRoundings = 0x1p-22;  // of a scale and a quotient that start from another number
  double low = 0;
  double high = 0;
  for (const Product& product : block) {
    low = std::max(low, product.low);
    high = std::max(high, product.high);
  }
  const bool certain = low == high;
  const auto own = static_cast<double>(scale);
  // The reference's largest lies between the two: any scale is within their ratio of its own.
  const double ratio = certain || low == 0 ? 1 : high / low * (1 + kRoundings);
  of_scales.push_back(certain ? 0.0F : static_cast<float>(own * (ratio - 1)));
  const numerics::EncodeOptions options = numerics::default_encode_options(format);
  const auto code_value = [&](double quotient) {
    const std::uint32_t code = numerics::encode(static_cast<float>(quotient), format, options);
    return static_cast<double>(numerics::decode(code, format));
  };
  for (const Product& product : block) {
    const bool exact = certain && product.low == product.high;
    const double lowest = code_value(product.low / (own * ratio) * (1 - kRoundings));
    const double highest = code_value(product.high / own * ratio * (1 + kRoundings));
    of_codes.push_back(exact ? 0.0F : static_cast<float>(highest - lowest));
  }
}

ExpectedOutputs expect_swiglu_quantize(const NamedTensors& inputs, const ContractSettings& settings) {
  const DType between = settings.text("between") == "bf16" ? DType::kBF16 : DType::kF32;
  const Tensor& gate = input(inputs, "gate");
  const std::vector<Product> products = swiglu_products(inputs, between);
  std::vector<double> values;
  for (const Product& product : products) values.push_back(product.value);
  const std::vector<float> narrow = floats_of(rounded(values, between, gate.shape()));
  const numerics::QuantizeRule rule = rule_of_settings(settings, {1, numerics::kScaleBlock});
  ExpectedOutputs outputs = quantized_outputs(numerics::quantize({narrow, gate.dim(0), gate.dim(1)}, rule, "swiglu"));
  std::vector<float> of_codes;
  std::vector<float> of_scales;
  const auto cols = static_cast<std::size_t>(gate.dim(1));
  const auto block = static_cast<std::size_t>(numerics::kScaleBlock);
  const auto scales = outputs.at("scales").value.values<float>();
  for (std::size_t row = 0; row < products.size(); row += cols)
    for (std::size_t col = 0; col < cols; col += block)
      bound_block(std::span(products).subspan(row + col, std::min(block, cols - col)), rule.format,
                  scales[of_scales.size()], of_codes, of_scales);
  outputs.at("codes").bound = Tensor::from<float>(gate.shape(), of_codes);
  outputs.at("scales").bound = Tensor::from<float>(outputs.at("scales").value.shape(), of_scales);
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
  contract.families.insert(contract.families.end(), {"nan_payloads", "halfway"});
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
       ToleranceClass::kBand,
       0,
       "exp() is not determined to the bit: a product is within 8 + 1.2 |gate| ulp of FP32 (a fast exp(), four "
       "operations). Where its rounding and that of its block's largest are one number the code is the reference's, "
       "else one of those that the two roundings allow"},
      {{"scales", "f32", "[rows, ceil(cols/128)]", "product ~ code * scale"},
       ToleranceClass::kBand,
       0,
       "exact where the rounding of the block's largest product is certain, else within the ratio of the two"}};
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

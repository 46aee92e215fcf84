// Block-scaled quantisation and back.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "numerics/quantize.h"
#include "numerics/quantize_e5m6.h"
#include "numerics/quantize_nvfp4.h"
#include "tensor/codes.h"

namespace lastbit::check {
namespace {

using numerics::Format;
using tensor::NamedTensors;
using tensor::Tensor;

const std::vector<std::string> kFormats{"e4m3", "e5m2", "e2m1", "e5m6", "nvfp4"};
const std::vector<std::string> kRuleKeys{"tile", "scale", "method", "zero_block", "amax_epsilon", "transpose"};

numerics::FloatMatrix matrix_of(const Tensor& x) { return {x.values<float>(), x.dim(0), x.dim(1)}; }

// Codes of one or two bytes.
Tensor codes_tensor(const numerics::CodeMatrix& codes, Format format) {
  Tensor result = Tensor::empty(tensor::code_dtype(format), {codes.rows, codes.cols});
  std::ranges::copy(codes.bytes, result.mutable_bytes().begin());
  return result;
}

NamedTensors scaled_results(const numerics::Quantized& quantized) {
  const numerics::ScaleShape shape = numerics::scale_shape(quantized.matrix(), quantized.tile);
  return {{"q", codes_tensor(quantized.matrix(), quantized.format)},
          {"scale", Tensor::from<float>({shape.rows, shape.columns}, quantized.scales)}};
}

std::int64_t nvfp4_blocks(std::int64_t columns) {
  return (columns + numerics::kNvfp4Block - 1) / numerics::kNvfp4Block;
}

NamedTensors nvfp4_results(const numerics::QuantizedNvfp4& quantized) {
  return {{"q", codes_tensor({Format::kE2M1, quantized.rows, quantized.cols, quantized.codes}, Format::kE2M1)},
          {"scale", Tensor::from<std::uint8_t>({quantized.rows, nvfp4_blocks(quantized.cols)}, quantized.block_scales)},
          {"tensor_scale", Tensor::from<float>({1}, std::span<const float>(&quantized.tensor_scale, 1))}};
}

NamedTensors run_quantize(const OpArguments& in) {
  const numerics::FloatMatrix x = matrix_of(in.tensor("x"));
  const std::string what = in.op() + ": x";
  const std::string& format = in.text("format");
  if (format == "nvfp4" || format == "e5m6") in.refuse_settings(kRuleKeys, format + " has one rule");
  if (format == "nvfp4") return nvfp4_results(numerics::quantize_nvfp4(x, what));
  if (format == "e5m6") return scaled_results(numerics::quantize_e5m6(x, what));
  const bool transpose = in.flag("transpose");
  numerics::QuantizeRule rule;
  rule.format = *numerics::find_format(format);
  rule.tile = numerics::find_scale_tile(in.text("tile"), transpose ? x.cols : x.rows, transpose ? x.rows : x.cols);
  rule.scale = numerics::find_scale_kind(in.text("scale"));
  rule.method = numerics::find_quantize_method(in.text("method"));
  rule.zero_block = numerics::find_zero_block(in.text("zero_block"));
  rule.amax_epsilon = static_cast<float>(in.number("amax_epsilon"));
  return scaled_results(transpose ? numerics::quantize_transposed(x, rule, what) : numerics::quantize(x, rule, what));
}

Tensor values_tensor(const std::vector<float>& values, const numerics::CodeMatrix& codes) {
  return Tensor::from<float>({codes.rows, codes.cols}, values);
}

NamedTensors dequantize_nvfp4(const OpArguments& in, const numerics::CodeMatrix& codes) {
  const Tensor* whole = in.find("tensor_scale");
  if (whole == nullptr) core::fail_input("{}: format=nvfp4 without tensor_scale, expected f32 [1]", in.op());
  const Tensor& scale = in.tensor("scale");
  const numerics::CodeMatrix blocks = tensor::code_matrix(scale, Format::kE4M3, in.op() + ": scale");
  if (blocks.rows != codes.rows || blocks.cols != nvfp4_blocks(codes.cols))
    core::fail_input("{}: scale is {}, expected [{}, {}]", in.op(), tensor::to_string(scale.shape()), codes.rows,
                     nvfp4_blocks(codes.cols));
  const auto scale_codes = scale.values<std::uint8_t>();
  numerics::require_usable_scales(whole->values<float>(), 1, in.op() + ": tensor_scale");
  const numerics::QuantizedNvfp4 quantized{codes.rows,
                                           codes.cols,
                                           {codes.bytes.begin(), codes.bytes.end()},
                                           {scale_codes.begin(), scale_codes.end()},
                                           whole->values<float>()[0]};
  return {{"x", values_tensor(numerics::dequantize_nvfp4(quantized), codes)}};
}

NamedTensors run_dequantize(const OpArguments& in) {
  const std::string& name = in.text("format");
  const Format format = name == "nvfp4" ? Format::kE2M1 : *numerics::find_format(name);
  const numerics::CodeMatrix codes = tensor::code_matrix(in.tensor("q"), format, in.op() + ": q");
  if (name == "nvfp4" || name == "e5m6") in.refuse_settings({"tile"}, name + " has one tile");
  if (name == "nvfp4") return dequantize_nvfp4(in, codes);
  if (in.has("tensor_scale"))
    core::fail_input("{}: tensor_scale with format={}, expected it with nvfp4 alone", in.op(), name);
  const numerics::ScaleTile tile = numerics::find_scale_tile(in.text("tile"), codes.rows, codes.cols);
  const numerics::ScaleShape shape = numerics::scale_shape(codes, tile);
  const std::span<const float> scales =
      tensor::scale_matrix(in.tensor("scale"), shape.rows, shape.columns, in.op() + ": scale");
  numerics::require_usable_scales(scales, shape.columns, in.op() + ": scale");
  const numerics::Quantized quantized{
      format, codes.rows, codes.cols, tile, {codes.bytes.begin(), codes.bytes.end()}, {scales.begin(), scales.end()}};
  return {{"x", values_tensor(
                    format == Format::kE5M6 ? numerics::dequantize_e5m6(quantized) : numerics::dequantize(quantized),
                    codes)}};
}

OpSetting format_setting() {
  return choice_setting("format", kFormats, "nvfp4: e2m1, an e4m3 scale a 16 and one of the tensor");
}

OpSetting tile_setting() {
  return text_setting("tile", "1x128", "elements under one scale: ROWSxCOLS, row, tensor or mx (1x32)");
}

}  // namespace

std::vector<OpEntry> quantize_ops() {
  return {{"quantize",
           "Codes with a scale a tile",
           {{"x", OpElements::kSingle, "[rows, columns]", "values"}},
           {format_setting(), tile_setting(), choice_setting("scale", {"fp32", "ue8m0"}, "ue8m0: a power of two"),
            choice_setting("method", {"division", "reciprocal"}, "x / s, or x (largest / amax)"),
            choice_setting("zero_block", {"one", "epsilon"}, "scale of zeros 1, or amax at least amax_epsilon"),
            number_setting("amax_epsilon", "1e-4", kSmallFactor, kLargeFactor, "with zero_block=epsilon"),
            flag_setting("transpose", false, "of the transposed matrix: q is [columns, rows]")},
           {{"q", "[rows, columns]", "codes in u8, e5m6 in u16"},
            {"scale", "[tile rows, tile columns]", "f32; nvfp4: e4m3 codes"},
            {"tensor_scale", "[1]", "of nvfp4"}},
           run_quantize},
          {"dequantize",
           "Codes times their scales",
           {{"q", OpElements::kOther, "[rows, columns]", "codes: u8 (e5m6: u16) or the format's own dtype"},
            {"scale", OpElements::kOther, "[scale rows, scale columns]", "f32; nvfp4: e4m3 codes"},
            {"tensor_scale", OpElements::kSingle, "[1]", "of nvfp4", false}},
           {format_setting(), tile_setting()},
           {{"x", "[rows, columns]", "f32"}},
           run_dequantize}};
}

}  // namespace lastbit::check

// lastbit quantize: float32 to 8-bit codes with a scale a tile, and back.
#include "numerics/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "cli/command.h"
#include "core/error.h"
#include "io/arrays.h"
#include "numerics/parse.h"
#include "tensor/codes.h"

namespace lastbit::cli {
namespace {

struct QuantizeOptions {
  std::string in;
  std::string format = "e4m3";
  std::string tile = "1x128";
  std::string scale = "fp32";
  std::string method = "division";
  std::string zero_block = "one";
  float epsilon = 1e-4F;
  bool transpose = false;
  std::string out;
  std::string scales;
};

struct DequantizeOptions {
  std::string in;
  std::string scales;
  std::string format = "e4m3";
  std::string tile = "1x128";
  std::string out;
};

tensor::Tensor load_matrix(const std::string& path) {
  tensor::Tensor matrix = io::load_array(path).contiguous();
  if (matrix.rank() != 2) core::fail_input("{}: shape {}, expected a matrix", path, tensor::to_string(matrix.shape()));
  return matrix;
}

std::vector<std::uint32_t> words(const std::vector<std::byte>& codes) {
  std::vector<std::uint32_t> result(codes.size());
  std::transform(codes.begin(), codes.end(), result.begin(),
                 [](std::byte code) { return static_cast<std::uint32_t>(code); });
  return result;
}

int run_quantize(const QuantizeOptions& options) {
  const tensor::Tensor in = load_matrix(options.in);
  if (in.dtype() != tensor::DType::kF32)
    core::fail_input("{}: dtype {}, expected float32", options.in, tensor::name(in.dtype()));
  const numerics::FloatMatrix matrix{in.values<float>(), in.dim(0), in.dim(1)};
  numerics::QuantizeRule rule;
  rule.format = numerics::require_format(options.format);
  rule.tile = options.transpose ? numerics::find_scale_tile(options.tile, matrix.cols, matrix.rows)
                                : numerics::find_scale_tile(options.tile, matrix.rows, matrix.cols);
  rule.scale = options.tile == "mx" ? numerics::ScaleKind::kUe8m0 : numerics::find_scale_kind(options.scale);
  rule.method = numerics::find_quantize_method(options.method);
  rule.zero_block = numerics::find_zero_block(options.zero_block);
  rule.amax_epsilon = options.epsilon;
  const numerics::Quantized quantized = options.transpose ? numerics::quantize_transposed(matrix, rule, options.in)
                                                          : numerics::quantize(matrix, rule, options.in);
  const numerics::ScaleShape shape = numerics::scale_shape(quantized.matrix(), quantized.tile);
  io::save_array(options.out,
                 tensor::tensor_of_codes(words(quantized.codes), rule.format, {quantized.rows, quantized.cols}));
  tensor::Tensor scales = tensor::Tensor::empty(tensor::DType::kF32, {shape.rows, shape.columns});
  std::ranges::copy(quantized.scales, scales.mutable_values<float>().begin());
  io::save_array(options.scales, scales);

  // The error in the orientation of the input.
  std::vector<float> back = numerics::dequantize(quantized);
  if (options.transpose) {
    const std::vector<float> turned = back;
    for (std::int64_t i = 0; i < matrix.rows; ++i)
      for (std::int64_t j = 0; j < matrix.cols; ++j)
        back[static_cast<std::size_t>(i * matrix.cols + j)] = turned[static_cast<std::size_t>(j * matrix.rows + i)];
  }
  const numerics::QuantizationError error = numerics::quantization_error(matrix.values, back);
  std::cout << fmt::format("codes [{}, {}] {}, scales [{}, {}]; error: {:.3e} of the norm, {:.3e} at most\n",
                           quantized.rows, quantized.cols, options.format, shape.rows, shape.columns,
                           error.relative_frobenius, error.max_absolute);
  return core::kExitOk;
}

int run_dequantize(const DequantizeOptions& options) {
  const tensor::Tensor in = load_matrix(options.in);
  const numerics::Format format = numerics::require_format(options.format);
  const numerics::CodeMatrix codes = tensor::code_matrix(in, format, options.in);
  if (numerics::describe(format).storage_bytes != 1)
    core::fail_input("--from {}: expected a format of one byte", options.format);
  const numerics::ScaleTile tile = numerics::find_scale_tile(options.tile, codes.rows, codes.cols);
  const numerics::ScaleShape shape = numerics::scale_shape(codes, tile);
  const tensor::Tensor loaded = io::load_array(options.scales).contiguous();
  const std::span<const float> scales = tensor::scale_matrix(loaded, shape.rows, shape.columns, options.scales);
  numerics::require_usable_scales(scales, shape.columns, options.scales);
  const numerics::Quantized quantized{
      format, codes.rows, codes.cols, tile, {codes.bytes.begin(), codes.bytes.end()}, {scales.begin(), scales.end()}};
  tensor::Tensor out = tensor::Tensor::empty(tensor::DType::kF32, {codes.rows, codes.cols});
  std::ranges::copy(numerics::dequantize(quantized), out.mutable_values<float>().begin());
  io::save_array(options.out, out);
  return core::kExitOk;
}

constexpr const char* kTileHelp =
    "Elements under one scale: ROWSxCOLS (1x128, 128x1, 128x128, ...), row, tensor, or mx (1x32, UE8M0)";

}  // namespace

void add_quantize(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("quantize", "Quantise a float32 matrix to 8-bit codes with a scale a tile");
  const auto options = std::make_shared<QuantizeOptions>();
  command->add_option("IN", options->in, "Matrix: FILE.npy or FILE:KEY (.npz, .safetensors, .h5), float32")->required();
  command->add_option("--to", options->format, "e4m3 or e5m2")->capture_default_str();
  command->add_option("--tile", options->tile, kTileHelp)->capture_default_str();
  command->add_option("--scale", options->scale, "fp32, or ue8m0: up to a power of two")->capture_default_str();
  command->add_option("--method", options->method, "division: x / s; reciprocal: x (largest / amax)")
      ->capture_default_str();
  command
      ->add_option("--zero-block", options->zero_block,
                   "one: tiles of zeros have scale 1; epsilon: amax is at least --epsilon")
      ->capture_default_str();
  command->add_option("--epsilon", options->epsilon, "Least amax under --zero-block epsilon")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--transpose", options->transpose,
                    "Quantise the transposed matrix: codes [cols, rows], --tile of those");
  command->add_option("--out", options->out, "Where the codes go")->required();
  command->add_option("--scales", options->scales, "Where the scales go: float32 [tile rows, tile columns]")
      ->required();
  command->callback([options, &action] { action = [options] { return run_quantize(*options); }; });
}

void add_dequantize(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("dequantize", "8-bit codes and their scales back to float32");
  const auto options = std::make_shared<DequantizeOptions>();
  command->add_option("IN", options->in, "Codes [rows, cols]: FILE.npy or FILE:KEY (.npz, .safetensors, .h5)")
      ->required();
  command->add_option("--scales", options->scales, "Scales, one a tile")->required();
  command->add_option("--from", options->format, "Format of the codes")->capture_default_str();
  command->add_option("--tile", options->tile, kTileHelp)->capture_default_str();
  command->add_option("--out", options->out, "Where the values go")->required();
  command->callback([options, &action] { action = [options] { return run_dequantize(*options); }; });
}

}  // namespace lastbit::cli

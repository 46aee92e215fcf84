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
#include "numerics/quantize_nvfp4.h"
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
  std::string tensor_scale;
};

struct DequantizeOptions {
  std::string in;
  std::string scales;
  std::string format = "e4m3";
  std::string tile = "1x128";
  std::string tensor_scale;
  std::string out;
};

constexpr const char* kNvfp4 = "nvfp4";

// A scale of the tensor goes with nvfp4, and with nothing else.
void require_tensor_scale(const std::string& option, const std::string& format, const std::string& path) {
  if ((format == kNvfp4) == path.empty())
    core::fail_input("{} {}: {}", option, format,
                     path.empty() ? "expected --tensor-scale too" : "takes no --tensor-scale");
}

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

void save_codes(const std::string& path, numerics::Format format, std::int64_t rows, std::int64_t cols,
                const std::vector<std::byte>& codes) {
  io::save_array(path, tensor::tensor_of_codes(words(codes), format, {rows, cols}));
}

void print_summary(std::int64_t rows, std::int64_t cols, const std::string& format, numerics::ScaleShape scales,
                   const numerics::QuantizationError& error) {
  std::cout << fmt::format("codes [{}, {}] {}, scales [{}, {}]; error: {:.3e} of the norm, {:.3e} at most\n", rows,
                           cols, format, scales.rows, scales.columns, error.relative_frobenius, error.max_absolute);
}

int run_quantize_nvfp4(const QuantizeOptions& options, const numerics::FloatMatrix& matrix) {
  if (options.transpose) core::fail_input("--transpose: not with --to nvfp4");
  const numerics::QuantizedNvfp4 quantized = numerics::quantize_nvfp4(matrix, options.in);
  save_codes(options.out, numerics::Format::kE2M1, matrix.rows, matrix.cols, quantized.codes);
  const numerics::ScaleShape shape{matrix.rows, (matrix.cols + numerics::kNvfp4Block - 1) / numerics::kNvfp4Block};
  io::save_array(options.scales,
                 tensor::Tensor::from<std::uint8_t>({shape.rows, shape.columns}, quantized.block_scales));
  io::save_array(options.tensor_scale, tensor::Tensor::from<float>({1}, std::span(&quantized.tensor_scale, 1)));
  print_summary(matrix.rows, matrix.cols, kNvfp4, shape,
                numerics::quantization_error(matrix.values, numerics::dequantize_nvfp4(quantized)));
  return core::kExitOk;
}

std::vector<float> transposed(const std::vector<float>& values, std::int64_t rows, std::int64_t cols) {
  std::vector<float> result(values.size());
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j)
      result[static_cast<std::size_t>(j * rows + i)] = values[static_cast<std::size_t>(i * cols + j)];
  return result;
}

int run_quantize(const QuantizeOptions& options) {
  const tensor::Tensor in = load_matrix(options.in);
  if (in.dtype() != tensor::DType::kF32)
    core::fail_input("{}: dtype {}, expected float32", options.in, tensor::name(in.dtype()));
  const numerics::FloatMatrix matrix{in.values<float>(), in.dim(0), in.dim(1)};
  require_tensor_scale("--to", options.format, options.tensor_scale);
  if (options.format == kNvfp4) return run_quantize_nvfp4(options, matrix);
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
  save_codes(options.out, rule.format, quantized.rows, quantized.cols, quantized.codes);
  io::save_array(options.scales, tensor::Tensor::from<float>({shape.rows, shape.columns}, quantized.scales));

  std::vector<float> back = numerics::dequantize(quantized);
  if (options.transpose) back = transposed(back, quantized.rows, quantized.cols);
  print_summary(quantized.rows, quantized.cols, options.format, shape,
                numerics::quantization_error(matrix.values, back));
  return core::kExitOk;
}

int run_dequantize_nvfp4(const DequantizeOptions& options, const tensor::Tensor& in) {
  const numerics::CodeMatrix codes = tensor::code_matrix(in, numerics::Format::kE2M1, options.in);
  const std::int64_t blocks = (codes.cols + numerics::kNvfp4Block - 1) / numerics::kNvfp4Block;
  const tensor::Tensor scales = io::load_array(options.scales).contiguous();
  const numerics::CodeMatrix block_scales = tensor::code_matrix(scales, numerics::Format::kE4M3, options.scales);
  if (block_scales.rows != codes.rows || block_scales.cols != blocks)
    core::fail_input("{}: shape {}, expected [{}, {}]", options.scales, tensor::to_string(scales.shape()), codes.rows,
                     blocks);
  const tensor::Tensor whole = io::load_array(options.tensor_scale).contiguous();
  if (whole.dtype() != tensor::DType::kF32 || whole.size() != 1)
    core::fail_input("{}: {} {}, expected f32 [1]", options.tensor_scale, tensor::name(whole.dtype()),
                     tensor::to_string(whole.shape()));
  numerics::require_usable_scales(whole.values<float>(), 1, options.tensor_scale);
  const auto scale_codes = scales.view_as(tensor::DType::kU8);
  const numerics::QuantizedNvfp4 quantized{
      codes.rows,
      codes.cols,
      {codes.bytes.begin(), codes.bytes.end()},
      {scale_codes.values<std::uint8_t>().begin(), scale_codes.values<std::uint8_t>().end()},
      whole.values<float>()[0]};
  io::save_array(options.out,
                 tensor::Tensor::from<float>({codes.rows, codes.cols}, numerics::dequantize_nvfp4(quantized)));
  return core::kExitOk;
}

int run_dequantize(const DequantizeOptions& options) {
  const tensor::Tensor in = load_matrix(options.in);
  require_tensor_scale("--from", options.format, options.tensor_scale);
  if (options.format == kNvfp4) return run_dequantize_nvfp4(options, in);
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
  CLI::App* command =
      app.add_subcommand("quantize", "Quantise a float32 matrix to codes of a byte with a scale a tile");
  const auto options = std::make_shared<QuantizeOptions>();
  command->add_option("IN", options->in, "Matrix: FILE.npy or FILE:KEY (.npz, .safetensors, .h5), float32")->required();
  command
      ->add_option("--to", options->format, "e4m3, e5m2, e2m1 or nvfp4 (E2M1, an E4M3 scale a 16, one of the tensor)")
      ->capture_default_str();
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
  command
      ->add_option("--scales", options->scales,
                   "Where the scales go: float32 [tile rows, tile columns] (nvfp4: E4M3 codes)")
      ->required();
  command->add_option("--tensor-scale", options->tensor_scale, "nvfp4: where the tensor's scale goes, float32 [1]");
  command->callback([options, &action] { action = [options] { return run_quantize(*options); }; });
}

void add_dequantize(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("dequantize", "8-bit codes and their scales back to float32");
  const auto options = std::make_shared<DequantizeOptions>();
  command->add_option("IN", options->in, "Codes [rows, cols]: FILE.npy or FILE:KEY (.npz, .safetensors, .h5)")
      ->required();
  command->add_option("--scales", options->scales, "Scales, one a tile")->required();
  command->add_option("--tensor-scale", options->tensor_scale, "nvfp4: the tensor's scale, float32 [1]");
  command->add_option("--from", options->format, "Format of the codes: e4m3, e5m2, e2m1 or nvfp4")
      ->capture_default_str();
  command->add_option("--tile", options->tile, kTileHelp)->capture_default_str();
  command->add_option("--out", options->out, "Where the values go")->required();
  command->callback([options, &action] { action = [options] { return run_dequantize(*options); }; });
}

}  // namespace lastbit::cli

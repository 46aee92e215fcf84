// lastbit quantize: float32 to 8-bit codes with a scale a tile, and back.
#include "numerics/quantize.h"

#include <fmt/format.h>

#include <iostream>
#include <memory>

#include "cli/command.h"
#include "core/error.h"
#include "io/arrays.h"
#include "tensor/code_quantize.h"

namespace lastbit::cli {
namespace {

struct QuantizeOptions {
  tensor::QuantizeRequest request;
  std::string in;
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

// A scale of the tensor goes with nvfp4, and with nothing else.
void require_tensor_scale(const std::string& option, const std::string& format, const std::string& path) {
  if ((format == "nvfp4") == path.empty())
    core::fail_input("{} {}: {}", option, format,
                     path.empty() ? "expected --tensor-scale too" : "takes no --tensor-scale");
}

int run_quantize(const QuantizeOptions& options) {
  const std::string& format = options.request.format;
  require_tensor_scale("--to", format, options.tensor_scale);
  const tensor::Tensor in = io::load_array(options.in);
  const tensor::QuantizedTensor quantized = tensor::quantize(in, options.request, options.in);
  io::save_array(options.out, quantized.codes);
  io::save_array(options.scales, quantized.scales);
  if (quantized.tensor_scale) io::save_array(options.tensor_scale, *quantized.tensor_scale);

  tensor::Tensor back =
      tensor::dequantize(quantized, format, options.request.tile, {options.out, options.scales, options.tensor_scale});
  if (options.request.transpose) back = back.transpose(0, 1).contiguous();
  const numerics::QuantizationError error =
      numerics::quantization_error(in.contiguous().values<float>(), back.values<float>());
  std::cout << fmt::format("codes {} {}, scales {}; error: {:.3e} of the norm, {:.3e} at most\n",
                           tensor::to_string(quantized.codes.shape()), format,
                           tensor::to_string(quantized.scales.shape()), error.relative_frobenius, error.max_absolute);
  return core::kExitOk;
}

int run_dequantize(const DequantizeOptions& options) {
  require_tensor_scale("--from", options.format, options.tensor_scale);
  tensor::QuantizedTensor quantized{io::load_array(options.in), io::load_array(options.scales)};
  if (!options.tensor_scale.empty()) quantized.tensor_scale = io::load_array(options.tensor_scale);
  io::save_array(options.out, tensor::dequantize(quantized, options.format, options.tile,
                                                 {options.in, options.scales, options.tensor_scale}));
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
      ->add_option("--to", options->request.format,
                   "e4m3, e5m2, e2m1 or nvfp4 (E2M1, an E4M3 scale a 16, one of the tensor)")
      ->capture_default_str();
  command->add_option("--tile", options->request.tile, kTileHelp)->capture_default_str();
  command->add_option("--scale", options->request.scale, "fp32, or ue8m0: up to a power of two")->capture_default_str();
  command->add_option("--method", options->request.method, "division: x / s; reciprocal: x (largest / amax)")
      ->capture_default_str();
  command
      ->add_option("--zero-block", options->request.zero_block,
                   "one: tiles of zeros have scale 1; epsilon: amax is at least --epsilon")
      ->capture_default_str();
  command->add_option("--epsilon", options->request.epsilon, "Least amax under --zero-block epsilon")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--transpose", options->request.transpose,
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

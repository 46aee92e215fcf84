// lastbit golden: files of inputs and expected results for other people's kernels.
#include <fmt/format.h>

#include <charconv>
#include <iostream>
#include <limits>
#include <memory>

#include "check/golden_vectors.h"
#include "cli/command.h"
#include "core/error.h"
#include "io/hdf5.h"
#include "io/unit_file.h"
#include "numerics/parse.h"

namespace lastbit::cli {
namespace {

struct GoldenOptions {
  std::string op;
  std::vector<std::string> shapes;
  std::vector<std::string> families;
  std::uint64_t seed = 1;
  std::string unit = "hopper_wgmma";
  std::string a_type = "e4m3";
  std::string b_type;
  std::string d_type = "f32";
  std::string promotion = "none";
  std::int64_t promote_every = numerics::kScaleBlock;
  std::int64_t groups = 4;
  std::string to = "e4m3";
  std::string tile = "1x128";
  std::string scale = "fp32";
  std::string method = "division";
  std::string zero_block = "one";
  float epsilon = 1e-4F;
  std::string out;
};

std::vector<std::int64_t> parse_shape(const std::string& text) {
  constexpr std::int64_t kMost = 1 << 20;
  std::vector<std::int64_t> shape;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (;;) {
    std::int64_t size = 0;
    const auto [stop, error] = std::from_chars(at, end, size);
    if (error != std::errc{} || size < 1 || size > kMost || (stop != end && *stop != 'x'))
      core::fail_input("--shapes: found '{}', expected sizes of 1 to {} with x between them, as in 64x96x256", text,
                       kMost);
    shape.push_back(size);
    if (stop == end) return shape;
    at = stop + 1;
  }
}

check::GoldenRequest request_of(const GoldenOptions& options) {
  check::GoldenRequest request;
  request.op = check::find_golden_op(options.op);
  for (const std::string& shape : options.shapes) request.shapes.push_back(parse_shape(shape));
  for (const std::string& family : options.families) request.families.push_back(check::find_input_family(family));
  request.seed = options.seed;
  request.unit = io::find_unit(options.unit);
  request.a = numerics::find_operand_type(request.unit, options.a_type);
  request.b = options.b_type.empty() ? request.a : numerics::find_operand_type(request.unit, options.b_type);
  request.d = numerics::require_format(options.d_type);
  request.promotion = {numerics::find_promotion(options.promotion), options.promote_every};
  request.groups = options.groups;
  request.rule.format = numerics::require_format(options.to);
  request.rule.scale = numerics::find_scale_kind(options.scale);
  request.rule.method = numerics::find_quantize_method(options.method);
  request.rule.zero_block = numerics::find_zero_block(options.zero_block);
  request.rule.amax_epsilon = options.epsilon;
  request.tile = options.tile;
  return request;
}

int run_golden(const GoldenOptions& options) {
  if (!options.out.ends_with(".h5") && !options.out.ends_with(".hdf5"))
    core::fail_input("{}: expected a name that ends in .h5 or .hdf5", options.out);
  const check::GoldenVectors vectors = check::make_golden(request_of(options));
  io::save_hdf5(options.out, vectors.tensors, vectors.attributes);
  std::size_t bytes = 0;
  for (const auto& [name, tensor] : vectors.tensors) bytes += tensor.nbytes();
  std::size_t cases = 0;
  for (const auto& [object, attributes] : vectors.attributes) cases += attributes.contains("family") ? 1 : 0;
  std::cout << fmt::format("{} cases, {} arrays, {:.1f} MB in {}\n", cases, vectors.tensors.size(),
                           static_cast<double>(bytes) / 1e6, options.out);
  return core::kExitOk;
}

std::string family_help() {
  std::string text = "Kinds of inputs (default: all):";
  for (const check::InputFamily family : check::input_families())
    text += fmt::format("\n{}: {}", check::to_string(family), check::meaning(family));
  return text;
}

}  // namespace

void add_golden(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "golden", "Write adversarial inputs, expected results and all parameters to HDF5, for tests of other kernels");
  const auto options = std::make_shared<GoldenOptions>();
  command->add_option("--op", options->op, "gemm, grouped_gemm, mma, quantize or cast")->required();
  command
      ->add_option("--shapes", options->shapes,
                   "Sizes, several with commas: MxNxK (gemm, grouped_gemm), nxK (mma), ROWSxCOLS (quantize), n (cast)")
      ->delimiter(',')
      ->required();
  command->add_option("--families", options->families, family_help())->delimiter(',');
  command->add_option("--seed", options->seed, "Seed of all inputs")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_option("--unit", options->unit, "Tensor core of gemm, grouped_gemm and mma")->capture_default_str();
  command->add_option("--a-type", options->a_type, "Format of A")->capture_default_str();
  command->add_option("--b-type", options->b_type, "Format of B (default: that of A)");
  command->add_option("--d-type", options->d_type, "Format of D: f32, bf16 or f16 (mma: f32 or f16)")
      ->capture_default_str();
  command->add_option("--promotion", options->promotion, "none, deepgemm, cublas or muladd: the latter with scales")
      ->capture_default_str();
  command->add_option("--promote-every", options->promote_every, "Elements of K between promotions")
      ->capture_default_str();
  command->add_option("--groups", options->groups, "Groups of grouped_gemm")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{4096}))
      ->capture_default_str();
  command->add_option("--to", options->to, "Format that quantize and cast write")->capture_default_str();
  command->add_option("--tile", options->tile, "quantize: elements under one scale, as in lastbit quantize")
      ->capture_default_str();
  command->add_option("--scale", options->scale, "quantize: fp32 or ue8m0")->capture_default_str();
  command->add_option("--method", options->method, "quantize: division or reciprocal")->capture_default_str();
  command->add_option("--zero-block", options->zero_block, "quantize: one or epsilon")->capture_default_str();
  command->add_option("--epsilon", options->epsilon, "quantize: least amax under --zero-block epsilon")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--out", options->out, "The HDF5 file to write")->required();
  command->callback([options, &action] { action = [options] { return run_golden(*options); }; });
}

}  // namespace lastbit::cli

// lastbit cast: FP32 to codes of a format, and back.
#include <limits>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "core/error.h"
#include "io/arrays.h"
#include "numerics/parse.h"
#include "tensor/codes.h"

namespace lastbit::cli {
namespace {

struct CastOptions {
  std::string in;
  std::string out;
  std::string to;
  std::string from;
  std::string convention = "cuda";
  std::string overflow;
  std::string rounding;
  std::uint64_t seed = 0;
};

int run_cast(const CastOptions& options) {
  if (options.to.empty() == options.from.empty())
    core::fail_input("cast wants either --to FORMAT (from float32) or --from FORMAT (to float32)");
  const tensor::Tensor in = io::load_array(options.in).contiguous();
  if (!options.from.empty()) {
    io::save_array(options.out, tensor::decode_codes(in, numerics::require_format(options.from), options.in));
    return core::kExitOk;
  }
  const numerics::Format format = numerics::require_format(options.to);
  const numerics::EncodeOptions encoding =
      numerics::require_encode_options(format, options.convention, options.overflow, options.rounding);
  io::save_array(options.out, tensor::encode_codes(in, format, encoding, options.seed, options.in));
  return core::kExitOk;
}

}  // namespace

void add_cast(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("cast", "Convert float32 to codes of a format, or codes back to float32");
  const auto options = std::make_shared<CastOptions>();
  command->add_option("IN", options->in, "Array: FILE.npy or FILE:KEY (.npz, .safetensors, .h5), any shape")
      ->required();
  command->add_option(
      "--to", options->to,
      "Format of the codes written: e4m3, e5m2, e4m3fnuz, e5m2fnuz, e8m0, e2m1 (uint8), e5m6, f16, bf16 "
      "(uint16), tf32, e8m13, f32 (uint32)");
  command->add_option("--from", options->from, "Format of the codes read; float32 is written");
  command->add_option("--convention", options->convention, "NaN codes and E8M0's rules: cuda or ml_dtypes")
      ->capture_default_str();
  command->add_option(
      "--overflow", options->overflow,
      "saturate (largest finite) or none (the format's Inf or NaN, where the rounding goes that way: as in "
      "IEEE 754, zero and up stop at the largest finite); default: saturate for 8-bit formats under cuda, else none");
  command->add_option("--rounding", options->rounding,
                      "nearest (even), up (toward +inf), zero or stochastic; default: nearest, but up for e8m0 under "
                      "cuda");
  command->add_option("--seed", options->seed, "Seed of stochastic rounding")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_option("--out", options->out, "Where the result goes")->required();
  command->callback([options, &action] { action = [options] { return run_cast(*options); }; });
}

}  // namespace lastbit::cli

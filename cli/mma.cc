// lastbit mma: records of operand codes through a tensor core's steps.
#include <memory>

#include "cli/command.h"
#include "core/error.h"
#include "io/arrays.h"
#include "io/unit_file.h"
#include "tensor/code_gemm.h"

namespace lastbit::cli {
namespace {

struct MmaOptions {
  std::string unit;
  std::string a_type;
  std::string b_type;
  std::string d_type = "f32";
  std::string a;
  std::string b;
  std::string c;
  std::string out;
};

int run_mma(const MmaOptions& options) {
  const numerics::MmaRule rule = io::find_rule(options.unit, options.a_type, options.b_type, options.d_type);
  const auto load = [](const std::string& path) { return tensor::NamedArray{path, io::load_array(path)}; };
  const tensor::NamedArray c = options.c.empty() ? tensor::NamedArray{} : load(options.c);
  io::save_array(options.out, tensor::multiply_records(rule, load(options.a), load(options.b), c));
  return core::kExitOk;
}

}  // namespace

void add_mma(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("mma", "Run records of raw codes through a tensor core: D = A . B + C");
  const auto options = std::make_shared<MmaOptions>();
  command->add_option("--unit", options->unit, "Tensor core: hopper_wgmma, ampere_mma, ...")->required();
  command->add_option("--a-type", options->a_type, "Format of A's codes: e4m3, e5m2, f16, bf16, tf32, fp8, bf8")
      ->required();
  command->add_option("--b-type", options->b_type, "Format of B's codes")->required();
  command->add_option("--d-type", options->d_type, "Format of C's and D's codes: f32 or f16")->capture_default_str();
  command
      ->add_option("--a", options->a,
                   "Codes [n, K], uint8, uint16 or uint32: FILE.npy or FILE:KEY (.npz, .safetensors, .h5)")
      ->required();
  command->add_option("--b", options->b, "Codes [n, K]")->required();
  command->add_option("--c", options->c, "Codes [n] of the d type (default: zeros)");
  command->add_option("--out", options->out, "Where D's codes [n] go")->required();
  command->callback([options, &action] { action = [options] { return run_mma(*options); }; });
}

}  // namespace lastbit::cli

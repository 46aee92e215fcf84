// lastbit mma: records of operand codes through a tensor core's steps.
#include <memory>
#include <optional>

#include "cli/command.h"
#include "core/error.h"
#include "io/arrays.h"
#include "io/unit_file.h"
#include "numerics/units.h"
#include "tensor/codes.h"

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
  const numerics::Unit unit = io::find_unit(options.unit);
  const numerics::Format a_type = numerics::find_operand_type(unit, options.a_type);
  const numerics::Format b_type = numerics::find_operand_type(unit, options.b_type);
  const numerics::Format d_type = numerics::find_operand_type(unit, options.d_type);
  const numerics::MmaRule rule = numerics::rule_of(unit, a_type, b_type, d_type);

  const tensor::Tensor a = io::load_array(options.a).contiguous();
  const tensor::Tensor b = io::load_array(options.b).contiguous();
  const numerics::CodeMatrix a_codes = tensor::code_matrix(a, a_type, options.a);
  const numerics::CodeMatrix b_codes = tensor::code_matrix(b, b_type, options.b);
  if (a.shape() != b.shape())
    core::fail_input("{}: shape {}, expected {} as in {}", options.b, tensor::to_string(b.shape()),
                     tensor::to_string(a.shape()), options.a);
  std::vector<std::uint32_t> c;
  if (!options.c.empty()) c = tensor::code_vector(io::load_array(options.c).contiguous(), d_type, a.dim(0), options.c);

  std::vector<std::uint32_t> d(static_cast<std::size_t>(a.dim(0)));
  numerics::mma(rule, a_codes, b_codes, c, d);
  io::save_array(options.out, tensor::tensor_of_codes(d, d_type, {a.dim(0)}));
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

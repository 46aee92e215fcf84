// lastbit gemm: a GEMM of raw codes through a tensor core's steps, with promotion and scales.
#include <memory>

#include "cli/command.h"
#include "core/error.h"
#include "io/arrays.h"
#include "io/unit_file.h"
#include "tensor/code_gemm.h"

namespace lastbit::cli {
namespace {

struct GemmOptions {
  tensor::GemmRequest request;  // its arrays: the names of files until they are loaded
  std::string numerics = "fp8-h800";
  std::string unit;
  std::string a_type;
  std::string b_type;
  std::string out;
};

int run_gemm(const GemmOptions& options) {
  const numerics::MmaRule rule = io::find_gemm_rule(options.numerics, options.unit, options.a_type, options.b_type);
  tensor::GemmRequest request = options.request;
  for (tensor::NamedArray* array : {&request.a, &request.b, &request.scale_a, &request.scale_b, &request.c,
                                    &request.group_of_row, &request.rows_of_group})
    if (!array->name.empty()) array->tensor = io::load_array(array->name);
  io::save_array(options.out, tensor::multiply_codes(rule, request));
  return core::kExitOk;
}

}  // namespace

void add_gemm(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("gemm", "Multiply matrices of raw codes as a tensor core does: D = A B^T");
  const auto options = std::make_shared<GemmOptions>();
  command->add_option("--a", options->request.a.name, "Codes [M, K]: FILE.npy or FILE:KEY (.npz, .safetensors, .h5)")
      ->required();
  command->add_option("--b", options->request.b.name, "Codes [N, K]; grouped: [groups, N, K]")->required();
  command->add_option("--scale-a", options->request.scale_a.name,
                      "Scales, one a tile of A, float32 or their bits (default: 1)");
  command->add_option("--scale-b", options->request.scale_b.name, "Scales, one a tile of B (default: 1)");
  command->add_option("--tile-a", options->request.tile_a, "Codes of A under one scale: ROWSxK, row or tensor")
      ->capture_default_str();
  command->add_option("--tile-b", options->request.tile_b, "Codes of B under one scale")->capture_default_str();
  command
      ->add_option("--role", options->request.role,
                   "nt: A [M, K], B [N, K] (fprop); nn: B lies as [K, N] (dgrad); tn: A too, as [K, M] (wgrad)")
      ->capture_default_str();
  command->add_option("--numerics", options->numerics, "fp8-h800, bf16-h800 or f16-h800")->capture_default_str();
  command->add_option("--unit", options->unit, "Tensor core instead of the one that --numerics names");
  command->add_option("--promotion", options->request.promotion,
                      "none, deepgemm, cublas or muladd (default: deepgemm with scales, none without)");
  command->add_option("--promote-every", options->request.promote_every, "Elements of K between promotions")
      ->capture_default_str();
  command->add_option("--a-type", options->a_type, "Format of A's codes (default: that of --numerics)");
  command->add_option("--b-type", options->b_type, "Format of B's codes (default: that of --numerics)");
  command->add_option("--to", options->request.d_type, "D's format: f32, bf16 or f16")->capture_default_str();
  command->add_option("--add-to", options->request.c.name,
                      "C [M, N] of D's format: D = C + A B^T, rounded to FP32, then to it");
  command->add_option("--group-of-row", options->request.group_of_row.name,
                      "Grouped, contiguous: the group of each row of A, int [M], -1 for none");
  command->add_option("--rows-of-group", options->request.rows_of_group.name,
                      "Grouped, masked: how many rows of each group of A [groups, M, K] count, int [groups]");
  command->add_option("--out", options->out, "Where D [M, N] goes")->required();
  command->callback([options, &action] { action = [options] { return run_gemm(*options); }; });
}

}  // namespace lastbit::cli

// lastbit gemm: a GEMM of raw codes through a tensor core's steps, with promotion and scales.
#include "numerics/gemm.h"

#include <memory>
#include <optional>

#include "check/unit_file.h"
#include "cli/command.h"
#include "core/error.h"
#include "io/arrays.h"
#include "io/npy.h"
#include "numerics/units.h"
#include "tensor/codes.h"

namespace lastbit::cli {
namespace {

struct GemmOptions {
  std::string a;
  std::string b;
  std::string scale_a;
  std::string scale_b;
  std::string numerics = "fp8-h800";
  std::string unit;
  std::string promotion;
  std::int64_t promote_every = numerics::kScaleBlock;
  std::string a_type;
  std::string b_type;
  std::string out;
};

// Scales as loaded, kept alive with their view.
struct LoadedScales {
  tensor::Tensor tensor;
  std::span<const float> values;
};

LoadedScales load_scales(const std::string& path, numerics::ScaleShape shape) {
  LoadedScales scales;
  scales.tensor = io::load_array(path).contiguous();
  scales.values = tensor::scale_matrix(scales.tensor, shape.rows, shape.columns, path);
  numerics::require_usable_scales(scales.values, shape.columns, path);
  return scales;
}

numerics::MmaRule rule_of(const GemmOptions& options) {
  const numerics::GemmPolicy& policy = numerics::find_gemm_policy(options.numerics);
  const numerics::Unit unit = check::find_unit(options.unit.empty() ? policy.unit : options.unit);
  const auto type = [&](const std::string& name) {
    return name.empty() ? policy.operand : numerics::find_operand_type(unit, name);
  };
  return numerics::rule_of(unit, type(options.a_type), type(options.b_type), numerics::Format::kF32);
}

// As given; else deepgemm when there are scales and none when there are not.
numerics::Promotion promotion_of(const GemmOptions& options, bool scaled) {
  const std::string order = !options.promotion.empty() ? options.promotion : (scaled ? "deepgemm" : "none");
  if (options.promote_every < 1)
    core::fail_input("--promote-every: found {}, expected 1 or more", options.promote_every);
  const numerics::Promotion promotion{numerics::find_promotion(order), options.promote_every};
  const bool promotes = promotion.order != numerics::PromotionOrder::kNone;
  if (promotes && !scaled) core::fail_input("--promotion {} needs --scale-a and --scale-b", order);
  if (!promotes && scaled) core::fail_input("--promotion none takes no scales: they are applied when promoting");
  return promotion;
}

int run_gemm(const GemmOptions& options) {
  const numerics::MmaRule rule = rule_of(options);
  if (options.scale_a.empty() != options.scale_b.empty())
    core::fail_input("--scale-a and --scale-b go together, and only one was given");
  const bool scaled = !options.scale_a.empty();
  const numerics::Promotion promotion = promotion_of(options, scaled);

  const tensor::Tensor a = io::load_array(options.a).contiguous();
  const tensor::Tensor b = io::load_array(options.b).contiguous();
  numerics::GemmOperands operands{
      tensor::code_matrix(a, rule.a, options.a), tensor::code_matrix(b, rule.b, options.b), {}, {}};
  if (a.dim(1) != b.dim(1))
    core::fail_input("{}: shape {}, expected [N, {}] as {} has K = {}", options.b, tensor::to_string(b.shape()),
                     a.dim(1), options.a, a.dim(1));
  LoadedScales scale_a;
  LoadedScales scale_b;
  if (scaled) {
    scale_a = load_scales(options.scale_a, numerics::scale_shape(operands.a, operands.tile_a));
    scale_b = load_scales(options.scale_b, numerics::scale_shape(operands.b, operands.tile_b));
    operands.scale_a = scale_a.values;
    operands.scale_b = scale_b.values;
  }
  tensor::Tensor d = tensor::Tensor::empty(tensor::DType::kF32, {a.dim(0), b.dim(0)});
  numerics::gemm(rule, operands, promotion, d.mutable_values<float>());
  io::save_npy(options.out, d);
  return core::kExitOk;
}

}  // namespace

void add_gemm(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("gemm", "Multiply matrices of raw codes as a tensor core does: D = A B^T");
  const auto options = std::make_shared<GemmOptions>();
  command->add_option("--a", options->a, "Codes [M, K]: FILE.npy or FILE.npz:KEY")->required();
  command->add_option("--b", options->b, "Codes [N, K]")->required();
  command->add_option("--scale-a", options->scale_a, "Scales [M, ceil(K/128)], float32 or their bits (default: 1)");
  command->add_option("--scale-b", options->scale_b, "Scales [ceil(N/128), ceil(K/128)] (default: 1)");
  command->add_option("--numerics", options->numerics, "fp8-h800, bf16-h800 or f16-h800")->capture_default_str();
  command->add_option("--unit", options->unit, "Tensor core instead of the one that --numerics names");
  command->add_option("--promotion", options->promotion,
                      "none, deepgemm, cublas or muladd (default: deepgemm with scales, none without)");
  command->add_option("--promote-every", options->promote_every, "Elements of K between promotions")
      ->capture_default_str();
  command->add_option("--a-type", options->a_type, "Format of A's codes (default: that of --numerics)");
  command->add_option("--b-type", options->b_type, "Format of B's codes (default: that of --numerics)");
  command->add_option("--out", options->out, "Where D [M, N] float32 goes, an .npy file")->required();
  command->callback([options, &action] { action = [options] { return run_gemm(*options); }; });
}

}  // namespace lastbit::cli

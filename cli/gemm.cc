// lastbit gemm: a GEMM of raw codes through a tensor core's steps, with promotion and scales.
#include "numerics/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <tuple>
#include <utility>

#include "cli/command.h"
#include "core/error.h"
#include "io/arrays.h"
#include "io/unit_file.h"
#include "numerics/grouped_gemm.h"
#include "numerics/parse.h"
#include "numerics/quantize.h"
#include "numerics/units.h"
#include "tensor/codes.h"

namespace lastbit::cli {
namespace {

struct GemmOptions {
  std::string a;
  std::string b;
  std::string scale_a;
  std::string scale_b;
  std::string role = "nt";
  std::string tile_a = "1x128";
  std::string tile_b = "128x128";
  std::string numerics = "fp8-h800";
  std::string unit;
  std::string promotion;
  std::int64_t promote_every = numerics::kScaleBlock;
  std::string a_type;
  std::string b_type;
  std::string to = "f32";
  std::string add_to;
  std::string group_of_row;
  std::string rows_of_group;
  std::string out;

  [[nodiscard]] bool scaled() const { return !scale_a.empty(); }
  [[nodiscard]] bool grouped() const { return !group_of_row.empty() || !rows_of_group.empty(); }
};

// Which operands lie transposed in memory.
struct Role {
  bool a;
  bool b;
};

Role find_role(const std::string& name) {
  constexpr std::array kRoles = {Role{false, false}, Role{false, true}, Role{true, true}};
  return kRoles.at(numerics::require_name("role", name, {"nt", "nn", "tn"}));
}

numerics::CodeMatrix load_operand(const tensor::Tensor& codes, numerics::Format format, bool transposed,
                                  const std::string& path) {
  numerics::CodeMatrix matrix = tensor::code_matrix(codes, format, path);
  if (transposed) std::swap(matrix.rows, matrix.cols);
  matrix.transposed = transposed;
  return matrix;
}

// Scales as loaded, kept alive with their view.
struct LoadedScales {
  tensor::Tensor tensor;
  std::span<const float> values;
};

// `lead`: axes before the scales' own, of the groups.
LoadedScales load_scales(const std::string& path, const tensor::Shape& lead, numerics::ScaleShape shape) {
  LoadedScales scales;
  if (path.empty()) return scales;
  tensor::Tensor loaded = io::load_array(path).contiguous();
  tensor::Shape expected = lead;
  expected.insert(expected.end(), {shape.rows, shape.columns});
  if (loaded.shape() != expected)
    core::fail_input("{}: shape {}, expected {}", path, tensor::to_string(loaded.shape()), tensor::to_string(expected));
  const std::int64_t rows = tensor::element_count(lead) * shape.rows;
  scales.tensor = loaded.reshape({rows, shape.columns});
  scales.values = tensor::scale_matrix(scales.tensor, rows, shape.columns, path);
  numerics::require_usable_scales(scales.values, shape.columns, path);
  return scales;
}

numerics::MmaRule rule_of(const GemmOptions& options) {
  const numerics::GemmPolicy& policy = numerics::find_gemm_policy(options.numerics);
  const numerics::Unit unit = io::find_unit(options.unit.empty() ? policy.unit : options.unit);
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

// Where D goes: zeros, or C with --add-to.
class Output {
 public:
  Output(const GemmOptions& options, tensor::Shape shape) : format_(numerics::require_format(options.to)) {
    const tensor::DType dtype = dtype_of(options.to);
    d_ = tensor::Tensor::empty(dtype, shape);
    if (options.add_to.empty()) return;
    const tensor::Tensor c = io::load_array(options.add_to).contiguous();
    if (c.shape() != shape || (c.dtype() != dtype && c.dtype() != tensor::code_dtype(format_)))
      core::fail_input("{}: {} {}, expected {} {}, as D", options.add_to, tensor::name(c.dtype()),
                       tensor::to_string(c.shape()), tensor::name(dtype), tensor::to_string(shape));
    std::ranges::copy(c.bytes(), d_.mutable_bytes().begin());
    accumulate_ = true;
  }

  [[nodiscard]] numerics::GemmOutput view() { return {format_, d_.mutable_bytes(), accumulate_}; }
  [[nodiscard]] const tensor::Tensor& tensor() const { return d_; }

 private:
  static tensor::DType dtype_of(const std::string& name) {
    constexpr std::array kTypes = {tensor::DType::kF32, tensor::DType::kBF16, tensor::DType::kF16};
    return kTypes.at(numerics::require_name("D's format", name, {"f32", "bf16", "f16"}));
  }

  numerics::Format format_;
  tensor::Tensor d_;
  bool accumulate_ = false;
};

void require_same_k(const GemmOptions& options, std::int64_t k_of_a, std::int64_t k_of_b, const tensor::Shape& b) {
  if (k_of_a != k_of_b)
    core::fail_input("{}: shape {} has K = {}, expected {} as in {}", options.b, tensor::to_string(b), k_of_b, k_of_a,
                     options.a);
}

int run_plain_gemm(const GemmOptions& options, const numerics::MmaRule& rule, numerics::Promotion promotion) {
  const Role role = find_role(options.role);
  const tensor::Tensor a = io::load_array(options.a).contiguous();
  const tensor::Tensor b = io::load_array(options.b).contiguous();
  numerics::GemmOperands operands{
      load_operand(a, rule.a, role.a, options.a), load_operand(b, rule.b, role.b, options.b), {}, {}};
  const auto [m, n, k] = std::tuple(operands.a.rows, operands.b.rows, operands.a.cols);
  require_same_k(options, k, operands.b.cols, b.shape());
  operands.tile_a = numerics::find_scale_tile(options.tile_a, m, k);
  operands.tile_b = numerics::find_scale_tile(options.tile_b, n, k);
  const LoadedScales scale_a = load_scales(options.scale_a, {}, numerics::scale_shape(operands.a, operands.tile_a));
  const LoadedScales scale_b = load_scales(options.scale_b, {}, numerics::scale_shape(operands.b, operands.tile_b));
  operands.scale_a = scale_a.values;
  operands.scale_b = scale_b.values;
  Output output(options, {m, n});
  numerics::gemm(rule, operands, promotion, output.view());
  io::save_array(options.out, output.tensor());
  return core::kExitOk;
}

// One integer a row or a group.
template <typename Index>
std::vector<Index> load_indices(const std::string& path, std::int64_t count) {
  const tensor::Tensor loaded = io::load_array(path).contiguous();
  const bool narrow = loaded.dtype() == tensor::DType::kI32;
  if ((!narrow && loaded.dtype() != tensor::DType::kI64) || loaded.shape() != tensor::Shape{count})
    core::fail_input("{}: {} {}, expected i32 or i64 [{}]", path, tensor::name(loaded.dtype()),
                     tensor::to_string(loaded.shape()), count);
  std::vector<Index> indices;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t index = narrow ? loaded.values<std::int32_t>()[at] : loaded.values<std::int64_t>()[at];
    if (!std::in_range<Index>(index)) core::fail_input("{}: element {} is {}, out of range", path, i, index);
    indices.push_back(static_cast<Index>(index));
  }
  return indices;
}

int run_grouped_gemm(const GemmOptions& options, const numerics::MmaRule& rule, numerics::Promotion promotion) {
  if (!options.group_of_row.empty() && !options.rows_of_group.empty())
    core::fail_input("--group-of-row (contiguous) and --rows-of-group (masked) are two layouts: give one");
  const Role role = find_role(options.role);
  if (role.a) core::fail_input("--role tn: grouped GEMM wants nt or nn");
  const bool masked = options.group_of_row.empty();
  const tensor::Tensor a = io::load_array(options.a).contiguous();
  const tensor::Tensor b = io::load_array(options.b).contiguous();
  if (b.rank() != 3)
    core::fail_input("{}: shape {}, expected [groups, N, K] (nt) or [groups, K, N] (nn)", options.b,
                     tensor::to_string(b.shape()));
  const std::int64_t groups = b.dim(0);
  if (a.rank() != (masked ? 3 : 2) || (masked && a.dim(0) != groups))
    core::fail_input("{}: shape {}, expected {}", options.a, tensor::to_string(a.shape()),
                     masked ? fmt::format("[{}, M, K]", groups) : "[M, K]");
  const tensor::Tensor flat_a = a.reshape({a.size() / std::max<std::int64_t>(a.dim(-1), 1), a.dim(-1)});
  const tensor::Tensor flat_b = b.reshape({groups * b.dim(1), b.dim(2)});
  const numerics::CodeMatrix rows = tensor::code_matrix(flat_a, rule.a, options.a);
  numerics::GroupedWeights weights{rule.b,
                                   groups,
                                   b.dim(role.b ? 2 : 1),
                                   b.dim(role.b ? 1 : 2),
                                   tensor::code_matrix(flat_b, rule.b, options.b).bytes,
                                   role.b,
                                   {}};
  require_same_k(options, rows.cols, weights.cols, b.shape());
  const numerics::ScaleTile tile_a = numerics::find_scale_tile(options.tile_a, 1, rows.cols);
  if (tile_a.rows != 1) core::fail_input("--tile-a {}: grouped GEMM wants a scale a row, as 1x128", options.tile_a);
  weights.tile = numerics::find_scale_tile(options.tile_b, weights.rows, weights.cols);
  const LoadedScales scale_a =
      load_scales(options.scale_a, masked ? tensor::Shape{groups} : tensor::Shape{},
                  {masked ? a.dim(1) : rows.rows, numerics::scale_shape(rows, tile_a).columns});
  const LoadedScales scale_b = load_scales(
      options.scale_b, {groups}, numerics::scale_shape({rule.b, weights.rows, weights.cols, {}}, weights.tile));
  weights.scales = scale_b.values;
  tensor::Shape shape = a.shape();
  shape.back() = weights.rows;
  Output output(options, shape);
  if (masked)
    numerics::grouped_gemm_masked(rule, rows, scale_a.values, tile_a.k, weights,
                                  load_indices<std::int64_t>(options.rows_of_group, groups), promotion, output.view());
  else
    numerics::grouped_gemm_contiguous(rule, rows, scale_a.values, tile_a.k, weights,
                                      load_indices<std::int32_t>(options.group_of_row, rows.rows), promotion,
                                      output.view());
  io::save_array(options.out, output.tensor());
  return core::kExitOk;
}

int run_gemm(const GemmOptions& options) {
  const numerics::MmaRule rule = rule_of(options);
  if (options.scale_a.empty() != options.scale_b.empty())
    core::fail_input("--scale-a and --scale-b go together, and only one was given");
  const numerics::Promotion promotion = promotion_of(options, options.scaled());
  return options.grouped() ? run_grouped_gemm(options, rule, promotion) : run_plain_gemm(options, rule, promotion);
}

}  // namespace

void add_gemm(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("gemm", "Multiply matrices of raw codes as a tensor core does: D = A B^T");
  const auto options = std::make_shared<GemmOptions>();
  command->add_option("--a", options->a, "Codes [M, K]: FILE.npy or FILE:KEY (.npz, .safetensors, .h5)")->required();
  command->add_option("--b", options->b, "Codes [N, K]; grouped: [groups, N, K]")->required();
  command->add_option("--scale-a", options->scale_a, "Scales, one a tile of A, float32 or their bits (default: 1)");
  command->add_option("--scale-b", options->scale_b, "Scales, one a tile of B (default: 1)");
  command->add_option("--tile-a", options->tile_a, "Codes of A under one scale: ROWSxK, row or tensor")
      ->capture_default_str();
  command->add_option("--tile-b", options->tile_b, "Codes of B under one scale")->capture_default_str();
  command
      ->add_option("--role", options->role,
                   "nt: A [M, K], B [N, K] (fprop); nn: B lies as [K, N] (dgrad); tn: A too, as [K, M] (wgrad)")
      ->capture_default_str();
  command->add_option("--numerics", options->numerics, "fp8-h800, bf16-h800 or f16-h800")->capture_default_str();
  command->add_option("--unit", options->unit, "Tensor core instead of the one that --numerics names");
  command->add_option("--promotion", options->promotion,
                      "none, deepgemm, cublas or muladd (default: deepgemm with scales, none without)");
  command->add_option("--promote-every", options->promote_every, "Elements of K between promotions")
      ->capture_default_str();
  command->add_option("--a-type", options->a_type, "Format of A's codes (default: that of --numerics)");
  command->add_option("--b-type", options->b_type, "Format of B's codes (default: that of --numerics)");
  command->add_option("--to", options->to, "D's format: f32, bf16 or f16")->capture_default_str();
  command->add_option("--add-to", options->add_to,
                      "C [M, N] of D's format: D = C + A B^T, rounded to FP32, then to it");
  command->add_option("--group-of-row", options->group_of_row,
                      "Grouped, contiguous: the group of each row of A, int [M], -1 for none");
  command->add_option("--rows-of-group", options->rows_of_group,
                      "Grouped, masked: how many rows of each group of A [groups, M, K] count, int [groups]");
  command->add_option("--out", options->out, "Where D [M, N] goes")->required();
  command->callback([options, &action] { action = [options] { return run_gemm(*options); }; });
}

}  // namespace lastbit::cli

#include "tensor/code_gemm.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.h"
#include "numerics/grouped_gemm.h"
#include "numerics/parse.h"
#include "numerics/quantize.h"
#include "tensor/codes.h"

namespace lastbit::tensor {
namespace {

// Which operands lie transposed in memory.
struct Role {
  bool a;
  bool b;
};

Role find_role(const std::string& name) {
  constexpr std::array kRoles = {Role{false, false}, Role{false, true}, Role{true, true}};
  return kRoles.at(numerics::require_name("role", name, {"nt", "nn", "tn"}));
}

numerics::CodeMatrix operand_of(const Tensor& codes, numerics::Format format, bool transposed,
                                const std::string& what) {
  numerics::CodeMatrix matrix = code_matrix(codes, format, what);
  if (transposed) std::swap(matrix.rows, matrix.cols);
  matrix.transposed = transposed;
  return matrix;
}

// Scales, kept alive with their view.
struct CheckedScales {
  Tensor tensor;
  std::span<const float> values;
};

// `lead`: axes before the scales' own, of the groups.
CheckedScales check_scales(const NamedArray& array, const Shape& lead, numerics::ScaleShape shape) {
  CheckedScales scales;
  if (!array.given()) return scales;
  const Tensor given = array.contiguous();
  Shape expected = lead;
  expected.insert(expected.end(), {shape.rows, shape.columns});
  if (given.shape() != expected)
    core::fail_input("{}: shape {}, expected {}", array.name, to_string(given.shape()), to_string(expected));
  const std::int64_t rows = element_count(lead) * shape.rows;
  scales.tensor = given.reshape({rows, shape.columns});
  scales.values = scale_matrix(scales.tensor, rows, shape.columns, array.name);
  numerics::require_usable_scales(scales.values, shape.columns, array.name);
  return scales;
}

// As given; else deepgemm when there are scales and none when there are not.
numerics::Promotion promotion_of(const GemmRequest& request) {
  const bool scaled = request.scale_a.given();
  if (scaled != request.scale_b.given())
    core::fail_input("gemm: scales of a and b go together, and only {} has them", scaled ? "a" : "b");
  const std::string order = !request.promotion.empty() ? request.promotion : (scaled ? "deepgemm" : "none");
  if (request.promote_every < 1)
    core::fail_input("gemm: promotion every {} elements of K, expected 1 or more", request.promote_every);
  const numerics::Promotion promotion{numerics::find_promotion(order), request.promote_every};
  const bool promotes = promotion.order != numerics::PromotionOrder::kNone;
  if (promotes && !scaled) core::fail_input("gemm: promotion {} needs scales of a and b", order);
  if (!promotes && scaled) core::fail_input("gemm: promotion none takes no scales: they are applied when promoting");
  return promotion;
}

// Where D goes: zeros, or C.
class Output {
 public:
  Output(const GemmRequest& request, Shape shape) : format_(numerics::require_format(request.d_type)) {
    constexpr std::array kTypes = {DType::kF32, DType::kBF16, DType::kF16};
    const DType dtype = kTypes.at(numerics::require_name("D's format", request.d_type, {"f32", "bf16", "f16"}));
    d_ = Tensor::empty(dtype, shape);
    if (!request.c.given()) return;
    const Tensor c = request.c.contiguous();
    if (c.shape() != shape || (c.dtype() != dtype && c.dtype() != code_dtype(format_)))
      core::fail_input("{}: {} {}, expected {} {}, as D", request.c.name, tensor::name(c.dtype()), to_string(c.shape()),
                       tensor::name(dtype), to_string(shape));
    std::ranges::copy(c.bytes(), d_.mutable_bytes().begin());
    accumulate_ = true;
  }

  [[nodiscard]] numerics::GemmOutput view() { return {format_, d_.mutable_bytes(), accumulate_}; }
  [[nodiscard]] const Tensor& tensor() const { return d_; }

 private:
  numerics::Format format_;
  Tensor d_;
  bool accumulate_ = false;
};

void require_same_k(const GemmRequest& request, std::int64_t k_of_a, std::int64_t k_of_b, const Shape& b) {
  if (k_of_a != k_of_b)
    core::fail_input("{}: shape {} has K = {}, expected {} as in {}", request.b.name, to_string(b), k_of_b, k_of_a,
                     request.a.name);
}

Tensor plain_product(const GemmRequest& request, const numerics::MmaRule& rule, numerics::Promotion promotion) {
  const Role role = find_role(request.role);
  const Tensor a = request.a.contiguous();
  const Tensor b = request.b.contiguous();
  numerics::GemmOperands operands{
      operand_of(a, rule.a, role.a, request.a.name), operand_of(b, rule.b, role.b, request.b.name), {}, {}};
  const auto [m, n, k] = std::tuple(operands.a.rows, operands.b.rows, operands.a.cols);
  require_same_k(request, k, operands.b.cols, b.shape());
  operands.tile_a = numerics::find_scale_tile(request.tile_a, m, k);
  operands.tile_b = numerics::find_scale_tile(request.tile_b, n, k);
  const CheckedScales scale_a = check_scales(request.scale_a, {}, numerics::scale_shape(operands.a, operands.tile_a));
  const CheckedScales scale_b = check_scales(request.scale_b, {}, numerics::scale_shape(operands.b, operands.tile_b));
  operands.scale_a = scale_a.values;
  operands.scale_b = scale_b.values;
  Output output(request, {m, n});
  numerics::gemm(rule, operands, promotion, output.view());
  return output.tensor();
}

// One integer a row or a group.
template <typename Index>
std::vector<Index> indices_of(const NamedArray& array, std::int64_t count) {
  const Tensor given = array.contiguous();
  const bool narrow = given.dtype() == DType::kI32;
  if ((!narrow && given.dtype() != DType::kI64) || given.shape() != Shape{count})
    core::fail_input("{}: {} {}, expected i32 or i64 [{}]", array.name, tensor::name(given.dtype()),
                     to_string(given.shape()), count);
  std::vector<Index> indices;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t index = narrow ? given.values<std::int32_t>()[at] : given.values<std::int64_t>()[at];
    if (!std::in_range<Index>(index)) core::fail_input("{}: element {} is {}, out of range", array.name, i, index);
    indices.push_back(static_cast<Index>(index));
  }
  return indices;
}

// Shapes of a grouped product's operands; which layout it is, `masked` says.
void check_groups(const GemmRequest& request, const Tensor& a, const Tensor& b, bool masked) {
  if (b.rank() != 3)
    core::fail_input("{}: shape {}, expected [groups, N, K] (nt) or [groups, K, N] (nn)", request.b.name,
                     to_string(b.shape()));
  if (a.rank() != (masked ? 3 : 2) || (masked && a.dim(0) != b.dim(0)))
    core::fail_input("{}: shape {}, expected {}", request.a.name, to_string(a.shape()),
                     masked ? fmt::format("[{}, M, K]", b.dim(0)) : "[M, K]");
}

Tensor grouped_product(const GemmRequest& request, const numerics::MmaRule& rule, numerics::Promotion promotion) {
  if (request.group_of_row.given() && request.rows_of_group.given())
    core::fail_input(
        "gemm: a group of each row (contiguous) and rows of each group (masked) are two layouts: give one");
  const Role role = find_role(request.role);
  if (role.a) core::fail_input("gemm: role tn, grouped GEMM wants nt or nn");
  const bool masked = !request.group_of_row.given();
  const Tensor a = request.a.contiguous();
  const Tensor b = request.b.contiguous();
  check_groups(request, a, b, masked);
  const std::int64_t groups = b.dim(0);
  const Tensor flat_a = a.reshape({a.size() / std::max<std::int64_t>(a.dim(-1), 1), a.dim(-1)});
  const Tensor flat_b = b.reshape({groups * b.dim(1), b.dim(2)});
  const numerics::CodeMatrix rows = code_matrix(flat_a, rule.a, request.a.name);
  numerics::GroupedWeights weights{
      rule.b, groups, b.dim(role.b ? 2 : 1), b.dim(role.b ? 1 : 2), code_matrix(flat_b, rule.b, request.b.name).bytes,
      role.b, {}};
  require_same_k(request, rows.cols, weights.cols, b.shape());
  const numerics::ScaleTile tile_a = numerics::find_scale_tile(request.tile_a, 1, rows.cols);
  if (tile_a.rows != 1)
    core::fail_input("gemm: tile {} of a, grouped GEMM wants a scale a row, as 1x128", request.tile_a);
  weights.tile = numerics::find_scale_tile(request.tile_b, weights.rows, weights.cols);
  const CheckedScales scale_a =
      check_scales(request.scale_a, masked ? Shape{groups} : Shape{},
                   {masked ? a.dim(1) : rows.rows, numerics::scale_shape(rows, tile_a).columns});
  const CheckedScales scale_b = check_scales(
      request.scale_b, {groups}, numerics::scale_shape({rule.b, weights.rows, weights.cols, {}}, weights.tile));
  weights.scales = scale_b.values;
  Shape shape = a.shape();
  shape.back() = weights.rows;
  Output output(request, shape);
  if (masked)
    numerics::grouped_gemm_masked(rule, rows, scale_a.values, tile_a.k, weights,
                                  indices_of<std::int64_t>(request.rows_of_group, groups), promotion, output.view());
  else
    numerics::grouped_gemm_contiguous(rule, rows, scale_a.values, tile_a.k, weights,
                                      indices_of<std::int32_t>(request.group_of_row, rows.rows), promotion,
                                      output.view());
  return output.tensor();
}

}  // namespace

Tensor multiply_codes(const numerics::MmaRule& rule, const GemmRequest& request) {
  const numerics::Promotion promotion = promotion_of(request);
  const bool grouped = request.group_of_row.given() || request.rows_of_group.given();
  return grouped ? grouped_product(request, rule, promotion) : plain_product(request, rule, promotion);
}

Tensor multiply_records(const numerics::MmaRule& rule, const NamedArray& a, const NamedArray& b, const NamedArray& c) {
  const Tensor left = a.contiguous();
  const Tensor right = b.contiguous();
  const numerics::CodeMatrix a_codes = code_matrix(left, rule.a, a.name);
  const numerics::CodeMatrix b_codes = code_matrix(right, rule.b, b.name);
  if (left.shape() != right.shape())
    core::fail_input("{}: shape {}, expected {} as in {}", b.name, to_string(right.shape()), to_string(left.shape()),
                     a.name);
  std::vector<std::uint32_t> addends;
  if (c.given()) addends = code_vector(c.contiguous(), rule.d, left.dim(0), c.name);
  std::vector<std::uint32_t> d(static_cast<std::size_t>(left.dim(0)));
  numerics::mma(rule, a_codes, b_codes, addends, d);
  return tensor_of_codes(d, rule.d, {left.dim(0)});
}

}  // namespace lastbit::tensor

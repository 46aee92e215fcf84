#include "check/golden_vectors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <tuple>

#include "core/error.h"
#include "core/philox.h"
#include "core/version.h"
#include "numerics/grouped_gemm.h"
#include "numerics/parse.h"
#include "tensor/codes.h"

namespace lastbit::check {
namespace {

using io::Attributes;
using numerics::CodeMatrix;
using numerics::Format;
using numerics::ScaleTile;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr ScaleTile kTileA{1, numerics::kScaleBlock};
constexpr ScaleTile kTileB{numerics::kScaleBlock, numerics::kScaleBlock};

struct OpText {
  const char* name;
  std::size_t rank;  // of its shapes
  const char* axes;
};

const OpText& text_of(GoldenOp op) {
  static constexpr std::array kTexts = {OpText{"gemm", 3, "MxNxK"}, OpText{"grouped_gemm", 3, "MxNxK"},
                                        OpText{"mma", 2, "nxK"}, OpText{"quantize", 2, "ROWSxCOLS"},
                                        OpText{"cast", 1, "n"}};
  return kTexts.at(static_cast<std::size_t>(op));
}

Tensor tensor_of_bytes(DType dtype, Shape shape, std::span<const std::byte> bytes) {
  Tensor result = Tensor::empty(dtype, std::move(shape));
  core::check(bytes.size() == result.nbytes(), "as many bytes as the shape has elements");
  std::ranges::copy(bytes, result.mutable_bytes().begin());
  return result;
}

// One case: its arrays and attributes below one group of the file.
class Case {
 public:
  Case(const GoldenRequest& request, InputFamily family, const std::vector<std::int64_t>& shape, GoldenVectors& into)
      : request_(request),
        family_(family),
        shape_(shape),
        name_(fmt::format("{}/{}/{}", text_of(request.op).name, to_string(family), fmt::join(shape, "x"))),
        into_(into) {
    note("op", text_of(request.op).name);
    note("family", to_string(family));
    note("seed", request.seed);
  }

  void run() {
    switch (request_.op) {
      case GoldenOp::kGemm:
        return gemm();
      case GoldenOp::kGroupedGemm:
        return grouped_gemm();
      case GoldenOp::kMma:
        return mma();
      case GoldenOp::kQuantize:
        return quantize();
      case GoldenOp::kCast:
        return cast();
    }
  }

 private:
  template <typename Value>
  void note(const std::string& key, const Value& value) {
    io::Attribute& attribute = into_.attributes[name_][key];
    if constexpr (std::is_convertible_v<Value, std::string_view>)
      attribute = std::string(std::string_view(value));
    else if constexpr (std::is_integral_v<Value>)
      attribute = static_cast<std::int64_t>(value);
    else
      attribute = static_cast<double>(value);
  }

  // An array and what it is; the returned tensor lies in the result.
  const Tensor& keep(const std::string& key, Tensor tensor, const std::string& meaning) {
    into_.attributes[name_ + "/" + key]["meaning"] = meaning;
    return into_.tensors.insert_or_assign(name_ + "/" + key, std::move(tensor)).first->second;
  }
  const Tensor& keep_codes(const std::string& key, Format format, Shape shape, std::span<const std::byte> codes,
                           const std::string& meaning) {
    const bool as_float = format == Format::kF32;
    const Tensor& kept = keep(
        key, tensor_of_bytes(as_float ? DType::kF32 : tensor::code_dtype(format), std::move(shape), codes), meaning);
    if (!as_float) into_.attributes[name_ + "/" + key]["format"] = std::string(numerics::name(format));
    return kept;
  }
  const Tensor& draw(const std::string& key, Format format, Shape shape, const std::string& meaning) {
    const MatrixShape matrix{shape.size() > 1 ? tensor::element_count(shape) / shape.back() : 1, shape.back()};
    return keep_codes(key, format, shape, draw_codes(family_, format, matrix, request_.seed, key), meaning);
  }
  const Tensor& draw_scale_tensor(const std::string& key, Shape shape, const std::string& meaning) {
    const std::vector<float> scales = draw_scales(tensor::element_count(shape), request_.seed, key);
    return keep(key, Tensor::from<float>(std::move(shape), scales), meaning);
  }

  numerics::MmaRule rule(Format d) {
    const numerics::MmaRule rule = numerics::rule_of(request_.unit, request_.a, request_.b, d);
    note("unit", request_.unit.name);
    note("hardware", request_.unit.hardware);
    note("evidence", numerics::to_string(numerics::find_row(request_.unit, request_.a, request_.b, d).evidence));
    note("a_type", numerics::name(rule.a));
    note("b_type", numerics::name(rule.b));
    note("accumulator_type", numerics::name(rule.d));
    note("accumulation", numerics::to_string(rule.accumulation));
    note("fraction_bits", rule.fraction_bits);
    note("step_k", rule.step_k);
    note("output_grid", numerics::name(rule.output_grid));
    note("output_rounding", rule.output_rounding == numerics::Rounding::kTowardZero ? "zero" : "nearest");
    if (rule.zero_exponent) note("zero_exponent", *rule.zero_exponent);
    if (rule.least_alignment) note("least_alignment", *rule.least_alignment);
    return rule;
  }

  void note_product() {
    note("m", shape_[0]);
    note("n", shape_[1]);
    note("k", shape_[2]);
    note("d_type", numerics::name(request_.d));
    note("promotion", numerics::to_string(request_.promotion.order));
    if (promotes()) note("promote_every", request_.promotion.every);
  }

  [[nodiscard]] bool promotes() const { return request_.promotion.order != numerics::PromotionOrder::kNone; }

  // The scales of an operand of `rows` lines, kept under `key`; none without promotion.
  std::span<const float> scales(const std::string& key, Shape shape, const std::string& meaning) {
    if (!promotes()) return {};
    return draw_scale_tensor(key, std::move(shape), meaning).values<float>();
  }

  void keep_output(const numerics::GemmOutput& output, Shape shape) {
    keep_codes("d", request_.d, std::move(shape), output.bytes, "the result");
  }

  [[nodiscard]] std::vector<std::byte> output_bytes(std::int64_t count) const {
    return std::vector<std::byte>(static_cast<std::size_t>(count * numerics::describe(request_.d).storage_bytes));
  }

  void gemm() {
    const auto [m, n, k] = std::tuple(shape_[0], shape_[1], shape_[2]);
    const numerics::MmaRule of_step = rule(Format::kF32);
    note_product();
    note("layout", "D [M, N] = A [M, K] B [N, K]^T, row-major");
    const Tensor& a = draw("a", request_.a, {m, k}, "codes [M, K]");
    const Tensor& b = draw("b", request_.b, {n, k}, "codes [N, K]");
    numerics::GemmOperands operands{{request_.a, m, k, a.bytes()}, {request_.b, n, k, b.bytes()}, {}, {}};
    const numerics::ScaleShape shape_a = numerics::scale_shape(operands.a, kTileA);
    const numerics::ScaleShape shape_b = numerics::scale_shape(operands.b, kTileB);
    operands.scale_a = scales("scale_a", {shape_a.rows, shape_a.columns}, "one for 1 x 128 codes of A");
    operands.scale_b = scales("scale_b", {shape_b.rows, shape_b.columns}, "one for 128 x 128 codes of B");
    std::vector<std::byte> d = output_bytes(m * n);
    const numerics::GemmOutput output{request_.d, d, false};
    numerics::gemm(of_step, operands, request_.promotion, output);
    keep_output(output, {m, n});
  }

  void grouped_gemm() {
    const auto [m, n, k] = std::tuple(shape_[0], shape_[1], shape_[2]);
    const std::int64_t groups = request_.groups;
    const numerics::MmaRule of_step = rule(Format::kF32);
    note_product();
    note("groups", groups);
    note("layout",
         "contiguous: row i of D = row i of A [M, K] times B[group_of_row[i]] [N, K]^T, zeros where the group is -1; "
         "masked: D_masked[g] = A_masked[g] [M, K] B[g]^T in its first rows_of_group[g] rows, zeros below");
    const Tensor& b = draw("b", request_.b, {groups, n, k}, "codes [groups, N, K]");
    numerics::GroupedWeights weights{request_.b, groups, n, k, b.bytes(), false, {}};
    const std::int64_t blocks = numerics::scale_shape({request_.a, 1, k, {}}, kTileA).columns;
    const numerics::ScaleShape shape_b = numerics::scale_shape({request_.b, n, k, {}}, kTileB);
    weights.scales =
        scales("scale_b", {groups, shape_b.rows, shape_b.columns}, "one for 128 x 128 codes of a group of B");

    const Tensor& a = draw("a", request_.a, {m, k}, "codes [M, K], contiguous");
    const std::span<const float> scale_a = scales("scale_a", {m, blocks}, "one for 1 x 128 codes of A");
    const std::vector<std::int32_t> group_of_row = draw_groups(m, groups);
    keep("group_of_row", Tensor::from<std::int32_t>({m}, group_of_row), "the group of each row, -1: none");
    std::vector<std::byte> d = output_bytes(m * n);
    numerics::grouped_gemm_contiguous(of_step, {request_.a, m, k, a.bytes()}, scale_a, numerics::kScaleBlock, weights,
                                      group_of_row, request_.promotion, {request_.d, d, false});
    keep_output({request_.d, d, false}, {m, n});

    const Tensor& masked = draw("a_masked", request_.a, {groups, m, k}, "codes [groups, M, K], masked");
    const std::span<const float> scale_masked =
        scales("scale_a_masked", {groups, m, blocks}, "one for 1 x 128 codes of A");
    std::vector<std::int64_t> rows_of_group(static_cast<std::size_t>(groups));
    const core::RandomStream stream(request_.seed, "rows_of_group");
    for (std::size_t g = 0; g < rows_of_group.size(); ++g) rows_of_group[g] = stream.word(g) % (m + 1);
    keep("rows_of_group", Tensor::from<std::int64_t>({groups}, rows_of_group), "the rows of each group that count");
    std::vector<std::byte> d_masked = output_bytes(groups * m * n);
    numerics::grouped_gemm_masked(of_step, {request_.a, groups * m, k, masked.bytes()}, scale_masked,
                                  numerics::kScaleBlock, weights, rows_of_group, request_.promotion,
                                  {request_.d, d_masked, false});
    keep_codes("d_masked", request_.d, {groups, m, n}, d_masked, "the result of the masked layout");
  }

  // Rows in runs, a group each, some groups without rows; one row in eight at the end belongs to none.
  [[nodiscard]] std::vector<std::int32_t> draw_groups(std::int64_t rows, std::int64_t groups) const {
    const core::RandomStream stream(request_.seed, "group_of_row");
    const std::int64_t padding = rows / 8;
    std::vector<std::int32_t> result;
    for (std::int64_t i = 0; i < rows - padding; ++i)
      result.push_back(
          static_cast<std::int32_t>(stream.word(static_cast<std::uint64_t>(i)) % static_cast<std::uint64_t>(groups)));
    std::ranges::sort(result);
    result.resize(static_cast<std::size_t>(rows), -1);
    return result;
  }

  void mma() {
    const std::int64_t n = shape_[0];
    const std::int64_t k = shape_[1];
    const numerics::MmaRule of_step = rule(request_.d);
    note("n", n);
    note("k", k);
    note("layout", "d[i] = a[i, :] . b[i, :] + c[i], in steps of step_k elements, in order");
    const Tensor& a = draw("a", request_.a, {n, k}, "codes [n, K]");
    const Tensor& b = draw("b", request_.b, {n, k}, "codes [n, K]");
    const Tensor& c = draw("c", request_.d, {n}, "codes [n]");
    std::vector<std::uint32_t> d(static_cast<std::size_t>(n));
    numerics::mma(of_step, {request_.a, n, k, a.bytes()}, {request_.b, n, k, b.bytes()},
                  tensor::code_vector(c, request_.d, n, "c"), d);
    keep_codes("d", request_.d, {n}, tensor::tensor_of_codes(d, request_.d, {n}).bytes(), "the result");
  }

  void quantize() {
    const std::int64_t rows = shape_[0];
    const std::int64_t cols = shape_[1];
    numerics::QuantizeRule rule = request_.rule;
    rule.tile = numerics::find_scale_tile(request_.tile, rows, cols);
    if (request_.tile == "mx") rule.scale = numerics::ScaleKind::kUe8m0;
    note("rows", rows);
    note("cols", cols);
    note("format", numerics::name(rule.format));
    note("tile_rows", rule.tile.rows);
    note("tile_cols", rule.tile.k);
    note("scale_type", rule.scale == numerics::ScaleKind::kUe8m0 ? "ue8m0" : "fp32");
    note("method", rule.method == numerics::QuantizeMethod::kDivision ? "division" : "reciprocal");
    note("zero_block", rule.zero_block == numerics::ZeroBlock::kOne ? "one" : "epsilon");
    if (rule.zero_block == numerics::ZeroBlock::kEpsilon) note("amax_epsilon", rule.amax_epsilon);
    note("layout", "x [rows, cols] ~ codes * scale of the code's tile");
    const Tensor& x = draw("x", Format::kF32, {rows, cols}, "values [rows, cols]");
    const numerics::Quantized quantized = numerics::quantize({x.values<float>(), rows, cols}, rule, name_);
    const numerics::ScaleShape shape = numerics::scale_shape(quantized.matrix(), rule.tile);
    keep_codes("codes", rule.format, {rows, cols}, quantized.codes, "codes [rows, cols]");
    keep("scales", Tensor::from<float>({shape.rows, shape.columns}, quantized.scales), "one for each tile");
  }

  void cast() {
    const Format format = request_.rule.format;
    note("n", shape_[0]);
    note("format", numerics::name(format));
    const numerics::EncodeOptions options = numerics::default_encode_options(format);
    note("convention", "cuda");
    note("overflow", options.overflow == numerics::Overflow::kSaturate ? "saturate" : "none");
    note("rounding", options.rounding == numerics::Rounding::kUp ? "up" : "nearest");
    const Tensor& x = draw("x", Format::kF32, {shape_[0]}, "values [n]");
    keep_codes("codes", format, {shape_[0]}, tensor::encode_codes(x, format, options, 0, name_).bytes(), "codes [n]");
  }

  const GoldenRequest& request_;
  InputFamily family_;
  const std::vector<std::int64_t>& shape_;
  std::string name_;
  GoldenVectors& into_;
};

// quantize() refuses Inf and NaN.
bool takes(GoldenOp op, InputFamily family) { return op != GoldenOp::kQuantize || family != InputFamily::kSpecials; }

void require_valid(const GoldenRequest& request) {
  const OpText& text = text_of(request.op);
  for (const std::vector<std::int64_t>& shape : request.shapes)
    if (shape.size() != text.rank || std::ranges::any_of(shape, [](std::int64_t size) { return size < 1; }))
      core::fail_input("shape {}: expected {}, positive, for {}", fmt::join(shape, "x"), text.axes, text.name);
  const bool product = request.op == GoldenOp::kGemm || request.op == GoldenOp::kGroupedGemm;
  if (product && request.d != Format::kF32 && request.d != Format::kBF16 && request.d != Format::kF16)
    core::fail_input("D's format {}: expected f32, bf16 or f16", numerics::name(request.d));
  for (const InputFamily family : request.families)
    if (!takes(request.op, family))
      core::fail_input("family {}: {} takes finite numbers only", to_string(family), text.name);
}

}  // namespace

GoldenOp find_golden_op(std::string_view name) {
  return static_cast<GoldenOp>(
      numerics::require_name("operation", name, {"gemm", "grouped_gemm", "mma", "quantize", "cast"}));
}

GoldenVectors make_golden(const GoldenRequest& request) {
  require_valid(request);
  std::vector<InputFamily> families = request.families;
  if (families.empty())
    std::ranges::copy_if(input_families(), std::back_inserter(families),
                         [&](InputFamily family) { return takes(request.op, family); });
  GoldenVectors vectors;
  vectors.attributes[""] = {{"schema", std::int64_t{1}},
                            {"generator", fmt::format("lastbit {}", core::version())},
                            {"seed", static_cast<std::int64_t>(request.seed)}};
  for (const InputFamily family : families)
    for (const std::vector<std::int64_t>& shape : request.shapes) Case(request, family, shape, vectors).run();
  return vectors;
}

}  // namespace lastbit::check

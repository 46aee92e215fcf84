// Matrix products of FP8 and 16-bit codes through a tensor core, dense and grouped, and single dots with a C.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "check/contract_families.h"
#include "check/input_families.h"
#include "check/op_arguments.h"
#include "core/error.h"
#include "core/philox.h"
#include "io/unit_file.h"
#include "numerics/grouped_gemm.h"
#include "tensor/cast.h"
#include "tensor/codes.h"

namespace lastbit::check {
namespace {

using numerics::Format;
using numerics::ScaleTile;
using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

constexpr std::int64_t kBlock = numerics::kScaleBlock;
constexpr ScaleTile kGemmTileA{1, kBlock};
constexpr ScaleTile kGemmTileB{kBlock, kBlock};
constexpr std::int64_t kPrefixStep = 32;

Format format_named(const std::string& name) { return *numerics::find_format(name); }

std::int64_t blocks(std::int64_t size) { return (size + kBlock - 1) / kBlock; }

bool scaled(const ContractSettings& settings) { return settings.text("scaling") == "block"; }

// ---- inputs

// Row i keeps its first (i + 1) * kPrefixStep elements; every row is the same otherwise.
Tensor draw_prefixes(DType dtype, const Shape& shape, std::uint64_t seed) {
  const std::int64_t k = shape.back();
  const Tensor row = draw_values("all_codes", dtype, {1, k}, seed, "a");
  Tensor result = Tensor::zeros(dtype, shape);
  const std::size_t width = tensor::size_of(dtype);
  const std::int64_t rows = k == 0 ? 0 : result.size() / k;
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t kept = std::min(k, (i % blocks(k * kBlock / kPrefixStep) + 1) * kPrefixStep);
    std::memcpy(result.mutable_bytes().data() + static_cast<std::size_t>(i * k) * width, row.bytes().data(),
                static_cast<std::size_t>(kept) * width);
  }
  return result;
}

// Blocks of 128 along K in pairs: the second of A is the first again, of B its negative; a last one alone is zeros.
// Under scales of the first (draw_scale_array) partial sums cancel, and what is left are the roundings of promotion.
Tensor draw_cancelling_blocks(DType dtype, const Shape& shape, std::uint64_t seed, const std::string& name) {
  Tensor result = draw_values("normal", dtype, shape, seed, name).clone();
  const auto bytes = result.mutable_bytes();
  const std::size_t width = tensor::size_of(dtype);
  const auto k = static_cast<std::size_t>(shape.back());
  constexpr auto kPair = static_cast<std::size_t>(2 * kBlock);
  const std::size_t paired = k / kPair * kPair;
  for (std::size_t row = 0; row + k <= bytes.size() / width; row += k)
    for (std::size_t i = 0; i < k; ++i) {
      std::byte* const element = bytes.data() + (row + i) * width;
      if (i >= paired && paired > 0) std::memset(element, 0, width);
      if (i >= paired || i % kPair < kPair / 2) continue;
      std::memcpy(element, element - static_cast<std::size_t>(kBlock) * width, width);
      if (name == "b") element[width - 1] ^= std::byte{0x80};
    }
  return result;
}

Tensor draw_operand(const DrawRequest& request, const std::string& name, Shape shape) {
  const DType dtype = dtype_named(request.settings.text(name + "_type"));
  if (request.family == "prefixes")
    return name == "a" ? draw_prefixes(dtype, shape, request.seed)
                       : draw_values("all_codes", dtype, std::move(shape), request.seed, name);
  if (request.family == "cancelling_blocks") return draw_cancelling_blocks(dtype, shape, request.seed, name);
  const bool own =
      request.family == "scales_apart" || request.family == "empty_experts" || request.family == "overflow";
  return draw_values(own ? "normal" : request.family, dtype, std::move(shape), request.seed, name);
}

Tensor draw_scale_array(const DrawRequest& request, const std::string& name, Shape shape) {
  std::vector<float> scales = draw_scales(tensor::element_count(shape), request.seed, name);
  // Blocks of one row far apart make the order of promotion and a scale of the wrong block tell.
  if (request.family == "scales_apart")
    for (std::size_t i = 0; i < scales.size(); ++i) scales[i] *= i % 2 == 0 ? 0x1p4F : 0x1p-4F;
  if (request.family == "overflow")
    for (float& scale : scales) scale *= 0x1p57F;
  if (request.family == "cancelling_blocks") {
    const auto columns = static_cast<std::size_t>(shape.back());
    for (std::size_t i = 0; i < scales.size(); ++i)
      if (i % columns % 2 == 1) scales[i] = scales[i - 1];
  }
  if (request.settings.text("scale_kind") == "ue8m0")
    for (float& scale : scales) scale = std::ldexp(1.0F, std::ilogb(scale));
  return Tensor::from<float>(std::move(shape), scales);
}

NamedTensors draw_gemm(const DrawRequest& request) {
  const std::int64_t m = request.size(0);
  const std::int64_t n = request.size(1);
  const std::int64_t k = request.size(2);
  NamedTensors inputs{{"a", draw_operand(request, "a", {m, k})}, {"b", draw_operand(request, "b", {n, k})}};
  if (!scaled(request.settings)) return inputs;
  inputs.emplace("scale_a", draw_scale_array(request, "scale_a", {m, blocks(k)}));
  inputs.emplace("scale_b", draw_scale_array(request, "scale_b", {blocks(n), blocks(k)}));
  return inputs;
}

// Rows in runs of a group, some groups without rows, and one row in eight (at least one of two) that belongs to none.
Tensor draw_group_of_row(const DrawRequest& request, std::int64_t rows, std::int64_t groups) {
  const core::RandomStream stream(request.seed, "group_of_row");
  const std::int64_t padding = rows < 2 ? 0 : std::max<std::int64_t>(1, rows / 8);
  const std::int64_t used = request.family == "empty_experts" ? std::max<std::int64_t>(1, groups / 4) : groups;
  std::vector<std::int32_t> result;
  for (std::int64_t i = 0; i < rows - padding; ++i)
    result.push_back(static_cast<std::int32_t>(stream.word(static_cast<std::uint64_t>(i)) % used));
  std::ranges::sort(result);
  result.resize(static_cast<std::size_t>(rows), -1);
  return Tensor::from<std::int32_t>({rows}, result);
}

NamedTensors draw_contiguous(const DrawRequest& request) {
  const std::int64_t m = request.size(0);
  const std::int64_t n = request.size(1);
  const std::int64_t k = request.size(2);
  const std::int64_t groups = request.size(3);
  return {{"a", draw_operand(request, "a", {m, k})},
          {"b", draw_operand(request, "b", {groups, n, k})},
          {"scale_a", draw_scale_array(request, "scale_a", {m, blocks(k)})},
          {"scale_b", draw_scale_array(request, "scale_b", {groups, blocks(n), blocks(k)})},
          {"group_of_row", draw_group_of_row(request, m, groups)}};
}

NamedTensors draw_masked(const DrawRequest& request) {
  const std::int64_t m = request.size(0);
  const std::int64_t n = request.size(1);
  const std::int64_t k = request.size(2);
  const std::int64_t groups = request.size(3);
  const core::RandomStream stream(request.seed, "rows_of_group");
  std::vector<std::int64_t> rows(static_cast<std::size_t>(groups));
  for (std::size_t g = 0; g < rows.size(); ++g) {
    rows[g] = stream.word(g) % (m + 1);
    if (request.family == "empty_experts" && g % 4 != 1) rows[g] = 0;
  }
  return {{"a", draw_operand(request, "a", {groups, m, k})},
          {"b", draw_operand(request, "b", {groups, n, k})},
          {"scale_a", draw_scale_array(request, "scale_a", {groups, m, blocks(k)})},
          {"scale_b", draw_scale_array(request, "scale_b", {groups, blocks(n), blocks(k)})},
          {"rows_of_group", Tensor::from<std::int64_t>({groups}, rows)}};
}

NamedTensors draw_mma(const DrawRequest& request) {
  const std::int64_t n = request.size(0);
  const std::int64_t k = request.size(1);
  const DType c = dtype_named(request.settings.text("d_type"));
  const std::string family = request.family == "prefixes" ? "all_codes" : request.family;
  return {{"a", draw_operand(request, "a", {n, k})},
          {"b", draw_operand(request, "b", {n, k})},
          {"c", draw_values(family, c, {n}, request.seed, "c")}};
}

// ---- the reference

numerics::MmaRule rule_of(const ContractSettings& settings, Format d) {
  return numerics::rule_of(io::find_unit(settings.text("unit")), format_named(settings.text("a_type")),
                           format_named(settings.text("b_type")), d);
}

numerics::Promotion promotion_of(const ContractSettings& settings) {
  return {numerics::find_promotion(settings.text("promotion")), settings.whole("promote_every")};
}

// Scales as the fault "scales" has them: ignored, of one operand alone, rounded up to powers of two, of the block
// before.
std::vector<float> scales_of(const NamedTensors& inputs, const std::string& name, const std::string& fault) {
  const Tensor& tensor = input(inputs, name);
  const auto given = tensor.values<float>();
  std::vector<float> scales(given.begin(), given.end());
  const bool dropped = fault == "none" || (fault == "a" && name == "scale_b") || (fault == "b" && name == "scale_a");
  const std::int64_t columns = tensor.shape().back();
  for (std::size_t i = 0; i < scales.size(); ++i) {
    if (dropped) scales[i] = 1;
    if (fault == "ue8m0") {
      const int exponent = std::ilogb(given[i]);
      scales[i] = std::ldexp(1.0F, given[i] > std::ldexp(1.0F, exponent) ? exponent + 1 : exponent);
    }
    if (fault == "first_block") scales[i] = given[i - i % static_cast<std::size_t>(columns)];
  }
  return scales;
}

// The operand with its elements from `kept` of K on as zeros.
Tensor first_elements(const Tensor& operand, const std::string& kept_text) {
  if (kept_text.empty()) return operand;
  const std::int64_t multiple = std::stoll(kept_text);
  const std::int64_t k = operand.shape().back();
  const std::int64_t kept = k / multiple * multiple;
  Tensor result = operand.clone();
  const std::size_t width = tensor::size_of(operand.dtype());
  for (std::int64_t row = 0; k > 0 && row < operand.size() / k; ++row)
    std::memset(result.mutable_bytes().data() + static_cast<std::size_t>(row * k + kept) * width, 0,
                static_cast<std::size_t>(k - kept) * width);
  return result;
}

// FP32 results in the output's dtype, under the fault "cast": truncated, or by way of FP16 or BF16.
Tensor cast_output(const std::vector<float>& y, const ContractSettings& settings, Shape shape) {
  const std::string& name = settings.text("d_type");
  Tensor f32 = Tensor::from<float>(std::move(shape), y);
  const std::string fault = settings.fault("cast");
  if (fault == "by_f16") f32 = tensor::to_f32(tensor::cast(f32, DType::kF16));
  if (fault == "by_bf16") f32 = tensor::to_f32(tensor::cast(f32, DType::kBF16));
  if (name == "f32") return f32;
  numerics::EncodeOptions options = numerics::default_encode_options(format_named(name));
  if (fault == "zero") options.rounding = numerics::Rounding::kTowardZero;
  if (fault == "saturating") options.overflow = numerics::Overflow::kSaturate;
  return tensor::cast(f32, dtype_named(name), options);
}

numerics::CodeMatrix code_matrix_of(const Tensor& tensor) {
  const std::int64_t cols = tensor.shape().back();
  return {*tensor::format_of(tensor.dtype()), cols == 0 ? 0 : tensor.size() / cols, cols, tensor.bytes()};
}

ExpectedOutputs expect_gemm(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor a = first_elements(input(inputs, "a"), settings.fault("k_kept"));
  const Tensor b = first_elements(input(inputs, "b"), settings.fault("k_kept"));
  numerics::GemmOperands operands{code_matrix_of(a), code_matrix_of(b), {}, {}, kGemmTileA, kGemmTileB};
  std::vector<float> scale_a;
  std::vector<float> scale_b;
  if (scaled(settings)) {
    scale_a = scales_of(inputs, "scale_a", settings.fault("scales"));
    scale_b = scales_of(inputs, "scale_b", settings.fault("scales"));
    operands.scale_a = scale_a;
    operands.scale_b = scale_b;
  }
  std::vector<float> y(static_cast<std::size_t>(a.dim(0) * b.dim(0)));
  numerics::gemm(rule_of(settings, Format::kF32), operands, promotion_of(settings), y);
  return {{"d", {cast_output(y, settings, {a.dim(0), b.dim(0)})}}};
}

ExpectedOutputs expect_grouped(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor a = first_elements(input(inputs, "a"), settings.fault("k_kept"));
  const Tensor b = first_elements(input(inputs, "b"), settings.fault("k_kept"));
  const std::vector<float> scale_a = scales_of(inputs, "scale_a", settings.fault("scales"));
  const std::vector<float> scale_b = scales_of(inputs, "scale_b", settings.fault("scales"));
  const numerics::CodeMatrix rows = code_matrix_of(a);
  numerics::GroupedWeights weights{
      *tensor::format_of(b.dtype()), b.dim(0), b.dim(1), b.dim(2), b.bytes(), false, scale_b};
  std::vector<float> y(static_cast<std::size_t>(rows.rows * b.dim(1)));
  const numerics::GemmOutput output{Format::kF32, std::as_writable_bytes(std::span(y)), false};
  const numerics::MmaRule rule = rule_of(settings, Format::kF32);
  Shape shape = a.shape();
  shape.back() = b.dim(1);
  if (const auto groups = inputs.find("group_of_row"); groups != inputs.end())
    numerics::grouped_gemm_contiguous(rule, rows, scale_a, kBlock, weights, groups->second.values<std::int32_t>(),
                                      promotion_of(settings), output);
  else
    numerics::grouped_gemm_masked(rule, rows, scale_a, kBlock, weights,
                                  input(inputs, "rows_of_group").values<std::int64_t>(), promotion_of(settings),
                                  output);
  return {{"d", {cast_output(y, settings, std::move(shape))}}};
}

ExpectedOutputs expect_mma(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor& a = input(inputs, "a");
  const Format d = format_named(settings.text("d_type"));
  std::vector<std::uint32_t> results(static_cast<std::size_t>(a.dim(0)));
  numerics::mma(rule_of(settings, d), code_matrix_of(a), code_matrix_of(input(inputs, "b")),
                tensor::code_vector(input(inputs, "c"), d, a.dim(0), "c"), results);
  const Tensor codes = tensor::tensor_of_codes(results, d, {a.dim(0)});
  return {{"d", {codes.view_as(dtype_named(settings.text("d_type")))}}};
}

// ---- what kernels do instead

void add_units(std::vector<Alternative>& all, const ContractSettings& settings, const OpSettings& changes,
               const std::string& beside) {
  const Format a = format_named(settings.text("a_type"));
  const Format b = format_named(settings.text("b_type"));
  for (const numerics::Unit& unit : numerics::units()) {
    const bool has = std::ranges::any_of(unit.rows, [&](const numerics::UnitRow& row) {
      const auto in = [&](Format format) { return std::ranges::find(row.operands, format) != row.operands.end(); };
      return in(a) && in(b) && (row.mixed || a == b) && row.d == Format::kF32;
    });
    if (!has || unit.name == settings.text("unit")) continue;
    OpSettings all_changes = changes;
    all_changes["unit"] = unit.name;
    all.push_back({"unit " + unit.name + beside, all_changes});
  }
}

std::vector<Alternative> mma_alternatives(const ContractSettings& settings) {
  std::vector<Alternative> all;
  add_units(all, settings, {}, "");
  return all;
}

std::string without(const std::string& order, const std::string& every) {
  return order == "none" ? "without promotion" : fmt::format("promotion {} every {}", order, every);
}

std::vector<Alternative> gemm_alternatives(const ContractSettings& settings) {
  std::vector<Alternative> all;
  const bool none = !settings.values().contains("scaling") ? false : !scaled(settings);
  std::vector<std::string> orders{"deepgemm", "cublas", "muladd"};
  if (none) orders.insert(orders.begin(), "none");
  const std::string unit = " of " + settings.text("unit");
  for (const std::string& order : orders)
    if (order != settings.text("promotion"))
      all.push_back({without(order, settings.text("promote_every")) + unit, {{"promotion", order}}});
  add_units(all, settings, {}, ", promotion as asked");
  if (none && settings.text("promotion") != "none") add_units(all, settings, {{"promotion", "none"}}, ", no promotion");
  for (const char* every : {"32", "64", "128", "256", "512", "1024", "2048"})
    if (settings.text("promotion") != "none" && every != settings.text("promote_every"))
      all.push_back({without(settings.text("promotion"), every) + unit, {{"promote_every", every}}});
  if (!none) {
    all.push_back({"both scales ignored", {{"scales", "none"}}});
    all.push_back({"the scales of B ignored", {{"scales", "a"}}});
    all.push_back({"the scales of A ignored", {{"scales", "b"}}});
    all.push_back({"scales rounded up to powers of two (UE8M0)", {{"scales", "ue8m0"}}});
    all.push_back({"the scale of the first block of K for all of them", {{"scales", "first_block"}}});
  }
  if (settings.text("d_type") != "f32") {
    all.push_back({"the output truncated rather than rounded to nearest", {{"cast", "zero"}}});
    all.push_back({"the output saturated rather than Inf", {{"cast", "saturating"}}});
  }
  if (settings.text("d_type") != "f16") all.push_back({"the result rounded to FP16 first", {{"cast", "by_f16"}}});
  if (settings.text("d_type") == "f32") all.push_back({"the result rounded to BF16 first", {{"cast", "by_bf16"}}});
  for (const char* multiple : {"16", "32", "64", "128", "256"})
    all.push_back({fmt::format("K cut to a multiple of {}: the tail is dropped", multiple), {{"k_kept", multiple}}});
  for (const char* order : {"cublas", "muladd", "deepgemm"})
    if (order != settings.text("promotion"))
      add_units(all, settings, {{"promotion", order}}, " with promotion " + std::string(order));
  return all;
}

// ---- a part of a large case

Tensor take_rows(const Tensor& tensor, const std::vector<std::int64_t>& rows) {
  Shape shape = tensor.shape();
  const std::size_t bytes = tensor.nbytes() / static_cast<std::size_t>(std::max<std::int64_t>(shape[0], 1));
  shape[0] = std::ssize(rows);
  Tensor result = Tensor::empty(tensor.dtype(), shape);
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::memcpy(result.mutable_bytes().data() + i * bytes,
                tensor.bytes().data() + static_cast<std::size_t>(rows[i]) * bytes, bytes);
  return result;
}

constexpr std::int64_t kPartProducts = 4'000'000;

// Rows spread over M, and one block of columns around the element.
Contract::Part narrow_gemm(const NamedTensors& inputs, const NamedTensors& outputs, std::int64_t element) {
  const Tensor& a = input(inputs, "a");
  const Tensor& b = input(inputs, "b");
  const Tensor& d = outputs.at("d");
  const std::int64_t m = a.dim(0);
  const std::int64_t n = b.dim(0);
  const std::int64_t k = std::max<std::int64_t>(a.dim(1), 1);
  if (m * n * k <= kPartProducts) return {inputs, outputs};
  const std::int64_t first = element % n / kBlock * kBlock;
  const std::int64_t cols = std::min(kBlock, n - first);
  const std::int64_t count = std::clamp<std::int64_t>(kPartProducts / (cols * k), 1, m);
  std::vector<std::int64_t> rows{element / n};
  for (std::int64_t i = 1; i < count; ++i) rows.push_back(i * m / count);
  NamedTensors part{{"a", take_rows(a, rows)}, {"b", b.slice(0, first, first + cols).contiguous()}};
  if (inputs.contains("scale_a")) {
    part.emplace("scale_a", take_rows(inputs.at("scale_a"), rows));
    part.emplace("scale_b", inputs.at("scale_b").slice(0, first / kBlock, first / kBlock + 1).contiguous());
  }
  return {part, {{"d", take_rows(d, rows).slice(1, first, first + cols).contiguous()}}};
}

// Rows spread over M; all columns, because groups keep their own B.
Contract::Part narrow_contiguous(const NamedTensors& inputs, const NamedTensors& outputs, std::int64_t element) {
  const Tensor& a = input(inputs, "a");
  const Tensor& b = input(inputs, "b");
  const std::int64_t m = a.dim(0);
  const std::int64_t of_row = std::max<std::int64_t>(b.dim(1) * b.dim(2), 1);
  if (m * of_row <= kPartProducts) return {inputs, outputs};
  const std::int64_t count = std::clamp<std::int64_t>(kPartProducts / of_row, 1, m);
  std::vector<std::int64_t> rows{element / b.dim(1)};
  for (std::int64_t i = 1; i < count; ++i) rows.push_back(i * m / count);
  NamedTensors part = inputs;
  for (const char* name : {"a", "scale_a", "group_of_row"}) part.at(name) = take_rows(inputs.at(name), rows);
  return {part, {{"d", take_rows(outputs.at("d"), rows)}}};
}

// ---- the entries

OpSetting promotion_setting(std::vector<std::string> choices) {
  return choice_setting("promotion", std::move(choices), "how partial sums enter the FP32 register (numerics/gemm.h)");
}

std::vector<OpSetting> product_settings(const std::vector<std::string>& operands,
                                        const std::vector<std::string>& outputs) {
  return {text_setting("unit", "hopper_wgmma", "tensor core: a name of lastbit units, or FILE.toml[:NAME]"),
          choice_setting("a_type", operands, "format of A"), choice_setting("b_type", operands, "format of B"),
          choice_setting("d_type", outputs, "format of D"),
          whole_setting("promote_every", "128", 1, 1 << 20, "elements of K between promotions")};
}

std::vector<std::string> gemm_families(const std::vector<std::string>& more) {
  std::vector<std::string> all;
  for (const InputFamily family : input_families()) all.emplace_back(to_string(family));
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

constexpr const char* kExactBits =
    "every step's bits follow from the unit, the promotion order and the output's rounding, so any difference is a "
    "difference in one of them";

ContractOutput product_output(const std::string& shape) {
  return {{"d", "=d_type", shape, "the product"}, ToleranceClass::kBitwise, 0, kExactBits};
}

std::vector<ContractArray> scaled_operands(const std::string& rows, const std::string& groups) {
  return {{"a", "=a_type", fmt::format("[{}M, K]", rows), "codes"},
          {"b", "=b_type", fmt::format("[{}N, K]", groups), "codes"},
          {"scale_a", "f32", fmt::format("[{}M, ceil(K/128)]", rows), "of 1 x 128 codes of A"},
          {"scale_b", "f32", fmt::format("[{}ceil(N/128), ceil(K/128)]", groups), "of 128 x 128 codes of B"}};
}

Contract dense_fp8() {
  Contract contract{"fp8_gemm", "D = A B^T of FP8 codes with a scale for 1 x 128 of A and 128 x 128 of B"};
  contract.axes = {"M", "N", "K"};
  contract.inputs = scaled_operands("", "");
  contract.outputs = {product_output("[M, N]")};
  contract.settings = product_settings({"e4m3", "e5m2"}, {"bf16", "f32", "f16"});
  contract.settings.push_back(promotion_setting({"deepgemm", "cublas", "muladd", "none"}));
  contract.settings.push_back(choice_setting("scaling", {"block", "none"}, "none: no scales; promotion may be none"));
  contract.settings.push_back(choice_setting("scale_kind", {"fp32", "ue8m0"}, "ue8m0: scales are powers of two"));
  contract.shapes = {{1, 1, 1}, {1, 130, 384}, {64, 128, 256}, {33, 65, 760}, {40, 96, 1016}};
  contract.families = gemm_families({"prefixes", "scales_apart", "cancelling_blocks", "overflow"});
  contract.draw = draw_gemm;
  contract.expect = expect_gemm;
  contract.alternatives = gemm_alternatives;
  contract.narrow = narrow_gemm;
  return contract;
}

Contract grouped_fp8(bool masked) {
  Contract contract{masked ? "fp8_grouped_gemm_masked" : "fp8_grouped_gemm_contiguous",
                    masked ? "D[g] = A[g] B[g]^T in the first rows_of_group[g] rows, +0 below"
                           : "row i of D = row i of A times B[group_of_row[i]]^T, +0 where the group is -1"};
  contract.axes = {"M", "N", "K", "groups"};
  contract.inputs = scaled_operands(masked ? "groups, " : "", "groups, ");
  contract.inputs.push_back(masked ? ContractArray{"rows_of_group", "i64", "[groups]", "rows that count"}
                                   : ContractArray{"group_of_row", "i32", "[M]", "its group, -1: padding"});
  contract.outputs = {product_output(masked ? "[groups, M, N]" : "[M, N]")};
  contract.settings = product_settings({"e4m3", "e5m2"}, {"bf16", "f32", "f16"});
  contract.settings.push_back(promotion_setting({"deepgemm", "cublas", "muladd"}));
  contract.settings.push_back(choice_setting("scale_kind", {"fp32", "ue8m0"}, "ue8m0: scales are powers of two"));
  contract.shapes = {{1, 1, 128, 1}, {24, 65, 256, 4}, {19, 130, 760, 8}};
  contract.families = gemm_families({"prefixes", "scales_apart", "cancelling_blocks", "overflow", "empty_experts"});
  contract.draw = masked ? draw_masked : draw_contiguous;
  contract.expect = expect_grouped;
  contract.alternatives = gemm_alternatives;
  if (!masked) contract.narrow = narrow_contiguous;
  return contract;
}

Contract dense_bf16() {
  Contract contract{"bf16_gemm", "D = A B^T of 16-bit or TF32 codes, chained along K in the tensor core"};
  contract.axes = {"M", "N", "K"};
  contract.inputs = {{"a", "=a_type", "[M, K]", "codes"}, {"b", "=b_type", "[N, K]", "codes"}};
  contract.outputs = {product_output("[M, N]")};
  contract.settings = product_settings({"bf16", "f16"}, {"bf16", "f32", "f16"});
  contract.settings.push_back(promotion_setting({"none", "deepgemm", "cublas", "muladd"}));
  contract.settings.push_back(choice_setting("scaling", {"none"}, "16-bit operands have no scales"));
  contract.shapes = {{1, 1, 1}, {1, 130, 384}, {64, 128, 256}, {33, 65, 760}};
  contract.families = gemm_families({"prefixes", "cancelling_blocks"});
  contract.draw = draw_gemm;
  contract.expect = expect_gemm;
  contract.alternatives = gemm_alternatives;
  contract.narrow = narrow_gemm;
  return contract;
}

Contract single_dots() {
  Contract contract{"mma", "d[i] = a[i, :] . b[i, :] + c[i] through a tensor core's steps"};
  contract.axes = {"n", "K"};
  contract.inputs = {{"a", "=a_type", "[n, K]", "codes"},
                     {"b", "=b_type", "[n, K]", "codes"},
                     {"c", "=d_type", "[n]", "the accumulator before"}};
  contract.outputs = {product_output("[n]")};
  contract.settings = {
      text_setting("unit", "hopper_wgmma", "tensor core: a name of lastbit units, or FILE.toml[:NAME]"),
      choice_setting("a_type", {"e4m3", "e5m2", "bf16", "f16", "e4m3fnuz", "e5m2fnuz"}, "format of A"),
      choice_setting("b_type", {"e4m3", "e5m2", "bf16", "f16", "e4m3fnuz", "e5m2fnuz"}, "format of B"),
      choice_setting("d_type", {"f32", "f16"}, "format of C and D")};
  contract.shapes = {{1, 16}, {500, 32}, {200, 128}};
  contract.families = gemm_families({"prefixes"});
  contract.draw = draw_mma;
  contract.expect = expect_mma;
  contract.alternatives = mma_alternatives;
  return contract;
}

}  // namespace

std::vector<Contract> gemm_contracts() {
  return {dense_fp8(), grouped_fp8(false), grouped_fp8(true), dense_bf16(), single_dots()};
}

}  // namespace lastbit::check

#include "ops/tensor_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/bf16.h"
#include "ops/matrix.h"

namespace lastbit::ops {
namespace {

CodedOperand coded(numerics::Quantized codes, bool transposed) {
  return {std::make_shared<const numerics::Quantized>(std::move(codes)), transposed};
}

numerics::Quantized bf16_codes(const numerics::FloatMatrix& x, const std::string& what) {
  numerics::Quantized result{numerics::Format::kBF16, x.rows, x.cols, {}, {}, {}};
  result.codes.resize(2 * x.values.size());
  constexpr std::int64_t kPiece = 1024;
  core::parallel_for(x.rows * x.cols, kElementsATask, [&](std::int64_t begin, std::int64_t end) {
    std::array<std::uint16_t, kPiece> codes;
    unsigned specials = 0;
    for (std::int64_t first = begin; first < end; first += kPiece) {
      // Loops that compilers vectorise.
      const auto count = static_cast<std::size_t>(std::min(kPiece, end - first));
      const float* values = x.values.data() + first;
      for (std::size_t i = 0; i < count; ++i) codes[i] = numerics::bf16_code(values[i]);
      for (std::size_t i = 0; i < count; ++i) specials |= (codes[i] & 0x7f80U) == 0x7f80U ? 1U : 0U;
      std::memcpy(result.codes.data() + 2 * first, codes.data(), 2 * count);
    }
    if (specials != 0) numerics::fail_not_finite(x, what + ", rounded to BF16");
  });
  return result;
}

numerics::QuantizeRule rule_for(const OperandNumerics& numerics, std::int64_t rows, std::int64_t k) {
  numerics::QuantizeRule rule = numerics.rule;
  rule.format = numerics.format;
  rule.tile = numerics::find_scale_tile(numerics.tile, rows, k);
  return rule;
}

// The same for the transpose of [rows, cols], as that matrix lies.
numerics::QuantizeRule columns_rule(const OperandNumerics& numerics, std::int64_t rows, std::int64_t cols) {
  numerics::QuantizeRule rule = rule_for(numerics, cols, rows);
  std::swap(rule.tile.rows, rule.tile.k);
  return rule;
}

// One scale for all of x, of the steps before.
numerics::Quantized delayed_codes(const numerics::FloatMatrix& x, const OperandNumerics& numerics,
                                  const OperandSource& source) {
  if (source.scales == nullptr)
    core::fail_unsupported("{}: delayed scales come from the steps before, which only training has", source.what);
  const std::string tensor = fmt::format("{}[{}]", source.what, source.group);
  const float scale = source.scales->scale(tensor, numerics.rule, numerics.delayed_steps);
  numerics::Quantized codes =
      numerics::quantize_with(x, numerics.format, numerics::find_scale_tile("tensor", x.rows, x.cols),
                              std::vector<float>(x.values.empty() ? 0 : 1, scale), source.what);
  float amax = 0;
  for (const float value : x.values) amax = std::max(amax, std::abs(value));
  if (!source.again) source.scales->observe(tensor, amax);
  return codes;
}

std::vector<float> values_of(const numerics::Quantized& codes) {
  if (codes.format != numerics::Format::kBF16) return numerics::dequantize(codes);
  std::vector<float> values(static_cast<std::size_t>(codes.rows * codes.cols));
  core::parallel_for(codes.rows * codes.cols, kElementsATask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::uint16_t code = 0;
      std::memcpy(&code, codes.codes.data() + 2 * i, sizeof(code));
      values[static_cast<std::size_t>(i)] = numerics::bf16_value(code);
    }
  });
  return values;
}

}  // namespace

numerics::CodeMatrix CodedOperand::matrix() const {
  numerics::CodeMatrix matrix = codes->matrix();
  if (transposed) {
    std::swap(matrix.rows, matrix.cols);
    matrix.transposed = true;
  }
  return matrix;
}

CodedOperand code_operand(const numerics::FloatMatrix& x, const OperandNumerics& numerics,
                          const OperandSource& source) {
  if (!numerics.scaled()) return coded(bf16_codes(x, source.what), false);
  if (numerics.delayed_steps > 0) return coded(delayed_codes(x, numerics, source), false);
  return coded(numerics::quantize(x, rule_for(numerics, x.rows, x.cols), source.what), false);
}

CodedOperand code_transposed(const numerics::FloatMatrix& x, const OperandNumerics& numerics,
                             const OperandSource& source) {
  if (!numerics.scaled()) return coded(bf16_codes(x, source.what), true);
  if (numerics.delayed_steps > 0) return coded(delayed_codes(x, numerics, source), true);
  return coded(numerics::quantize_transposed(x, rule_for(numerics, x.cols, x.rows), source.what), false);
}

CodedOperand code_columns(const numerics::FloatMatrix& x, const OperandNumerics& numerics,
                          const OperandSource& source) {
  if (!numerics.scaled() || numerics.delayed_steps > 0) return code_transposed(x, numerics, source);
  return coded(numerics::quantize(x, columns_rule(numerics, x.rows, x.cols), source.what), true);
}

bool same_codes(const OperandNumerics& operand, const OperandNumerics& columns) {
  if (operand.delayed_steps > 0 || columns.delayed_steps > 0) return false;
  if (!operand.scaled() || !columns.scaled()) return operand.scaled() == columns.scaled();
  constexpr std::int64_t kRows = 3;  // of any matrix that is not square
  constexpr std::int64_t kCols = 5;
  return rule_for(operand, kRows, kCols) == columns_rule(columns, kRows, kCols);
}

bool codes_lie_turned(const OperandNumerics& numerics) { return numerics.scaled() && numerics.delayed_steps == 0; }

std::vector<float> coded_values(const CodedOperand& operand) { return values_of(*operand.codes); }

OperandLoss operand_loss(const numerics::FloatMatrix& x, const numerics::Quantized& codes, bool turned) {
  const std::vector<float> kept = values_of(codes);
  const numerics::FormatDescriptor& format = numerics::describe(codes.format);
  OperandLoss loss{x.rows * x.cols, 0, 0};
  for (std::int64_t i = 0; i < x.rows; ++i)
    for (std::int64_t j = 0; j < x.cols; ++j) {
      const float exact = x.values[static_cast<std::size_t>(i * x.cols + j)];
      const auto place = static_cast<std::size_t>(turned ? j * x.rows + i : i * x.cols + j);
      if (exact != 0 && kept[place] == 0) ++loss.flushed;
      if (format.storage_bytes != 1) continue;  // BF16 has FP32's range
      const auto magnitude = static_cast<std::uint32_t>(codes.codes[place]) & (format.sign_code() - 1);
      // The largest code, and more than half a step beyond it.
      const float beyond = std::abs(kept[place]) * (1 + std::ldexp(0.5F, -format.fraction_bits) / 2);
      if (magnitude == format.max_finite_code() && std::abs(exact) > beyond) ++loss.saturated;
    }
  return loss;
}

namespace {

// An operand's scales as its matrix() lies, which `turned` keeps where the codes lie otherwise; and their tile.
std::pair<std::span<const float>, numerics::ScaleTile> scales_of(const CodedOperand& operand,
                                                                 std::vector<std::vector<float>>& turned) {
  const numerics::Quantized& codes = *operand.codes;
  if (!operand.transposed) return {codes.scales, codes.tile};
  const numerics::ScaleShape shape = numerics::scale_shape(codes.matrix(), codes.tile);
  std::vector<float>& scales = turned.emplace_back();
  scales.reserve(codes.scales.size());
  for (std::int64_t j = 0; j < shape.columns; ++j)
    for (std::int64_t i = 0; i < shape.rows; ++i)
      scales.push_back(codes.scales[static_cast<std::size_t>(i * shape.columns + j)]);
  return {scales, {codes.tile.k, codes.tile.rows}};
}

}  // namespace

void run_products(const ProductNumerics& numerics, std::span<const CodedProduct> products) {
  std::vector<std::vector<float>> turned;
  std::vector<numerics::GemmOperands> operands;
  std::vector<numerics::GemmOutput> outputs;
  for (const CodedProduct& product : products) {
    numerics::GemmOperands one{product.left->matrix(), product.right->matrix(), {}, {}, {1, 128}, {1, 128}};
    if (numerics.left.scaled()) std::tie(one.scale_a, one.tile_a) = scales_of(*product.left, turned);
    if (numerics.right.scaled()) std::tie(one.scale_b, one.tile_b) = scales_of(*product.right, turned);
    const auto elements = static_cast<std::size_t>(one.a.rows * one.b.rows);
    operands.push_back(one);
    outputs.push_back(
        {numerics::Format::kF32, std::as_writable_bytes(std::span(product.d, elements)), product.accumulate});
  }
  numerics::gemm_batch(numerics.rule, operands, numerics.promotion, outputs);
}

}  // namespace lastbit::ops

// Block-scaled quantisation of FP32 matrices to codes of a byte, and back: q = RN(x / s), x ~ q s, one s a tile.
//
// s = RN(amax / largest), with amax the tile's largest magnitude and largest the format's (448 in E4M3, 57344 in E5M2,
// 6 in E2M1), in FP32 or rounded up to a power of two (UE8M0: exponent + (mantissa != 0), clamped to 1 .. 254). Habits
// of the field that differ in bits are options with names:
//   kDivision    q = RN(RN(x / s))                        DeepSeek-V3's act_quant
//   kReciprocal  q = RN(RN(x r)), r = RN(largest / amax)  DeepGEMM's per_token_cast_to_fp8; r = 1 / s under UE8M0
//   kOne         a tile of zeros has s = 1; so has one whose s underflows to 0                NVIDIA TransformerEngine
//   kEpsilon     amax is at least amax_epsilon            DeepSeek-V3, DeepGEMM: 1e-4
// Conversion is to nearest even and saturates, as encode() does.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "numerics/gemm.h"

namespace lastbit::numerics {

enum class ScaleKind : std::uint8_t { kF32, kUe8m0 };
enum class QuantizeMethod : std::uint8_t { kDivision, kReciprocal };
enum class ZeroBlock : std::uint8_t { kOne, kEpsilon };

struct QuantizeRule {
  Format format = Format::kE4M3;  // kE4M3, kE5M2 or kE2M1
  ScaleTile tile = {1, kScaleBlock};
  ScaleKind scale = ScaleKind::kF32;
  QuantizeMethod method = QuantizeMethod::kDivision;
  ZeroBlock zero_block = ZeroBlock::kOne;
  float amax_epsilon = 1e-4F;

  friend bool operator==(const QuantizeRule&, const QuantizeRule&) = default;
};

// Names on the command line: fp32, ue8m0; division, reciprocal; one, epsilon. Errors: another name is bad input.
[[nodiscard]] ScaleKind find_scale_kind(std::string_view name);
[[nodiscard]] QuantizeMethod find_quantize_method(std::string_view name);
[[nodiscard]] ZeroBlock find_zero_block(std::string_view name);

// 1x128, 128x1, 128x128, 1x32 (mx), any ROWSxCOLS; row, tensor: whole lines or all of a [rows, cols] matrix. Errors:
// another name is bad input.
[[nodiscard]] ScaleTile find_scale_tile(std::string_view name, std::int64_t rows, std::int64_t cols);

// A row-major matrix, borrowed.
struct FloatMatrix {
  std::span<const float> values;
  std::int64_t rows;
  std::int64_t cols;
};

// Bad input: names the first element that is not finite. `what` names the matrix.
[[noreturn]] void fail_not_finite(const FloatMatrix& matrix, const std::string& what);

struct Quantized {
  Format format = Format::kE4M3;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  ScaleTile tile{};
  std::vector<std::byte> codes;  // [rows, cols]
  std::vector<float> scales;     // [ceil(rows / tile.rows), ceil(cols / tile.k)]

  [[nodiscard]] CodeMatrix matrix() const { return {format, rows, cols, codes}; }
};

// Tiles at the right and lower edges may be smaller. The bits depend neither on the number of threads nor on the
// instruction set. Errors (bad input): an Inf or NaN, with its place; another format; `what` names the matrix.
[[nodiscard]] Quantized quantize(const FloatMatrix& matrix, const QuantizeRule& rule, const std::string& what);
// The quantisation of the transposed matrix under `rule` without making it: weight gradients want tiles along tokens.
[[nodiscard]] Quantized quantize_transposed(const FloatMatrix& matrix, const QuantizeRule& rule,
                                            const std::string& what);
// Under scales that are given, [as in Quantized]: q = RN(RN(x / s)). Values beyond their tile's range saturate.
[[nodiscard]] Quantized quantize_with(const FloatMatrix& matrix, Format format, ScaleTile tile,
                                      std::vector<float> scales, const std::string& what);

// RN(value of the code * scale), [rows, cols].
[[nodiscard]] std::vector<float> dequantize(const Quantized& quantized);

// How far `approximation` is from `exact`.
struct QuantizationError {
  double relative_frobenius = 0;  // norm of the difference over norm
  double max_absolute = 0;
};
[[nodiscard]] QuantizationError quantization_error(std::span<const float> exact, std::span<const float> approximation);

// To another tiling, by way of FP32. `error` (may be null): of the result against what the first codes stood for.
[[nodiscard]] Quantized requantize(const Quantized& quantized, const QuantizeRule& rule, QuantizationError* error);

// Delayed scaling: a tensor's scale comes from the largest amax of the steps before. Source: NVIDIA TransformerEngine,
// DelayedScaling with amax_compute_algo "max" and margin 0.
class DelayedScaling {
 public:
  // `rule`: of its tile and method nothing is used.
  DelayedScaling(const QuantizeRule& rule, std::size_t history_length);
  // Of the steps seen so far; 1 before the first, and while all were 0.
  [[nodiscard]] float scale() const;
  // Ends a step whose tensor's largest magnitude was `amax`; the oldest step is forgotten. Errors: not finite.
  void end_step(float amax);
  // The oldest step first.
  [[nodiscard]] std::vector<float> history() const;

 private:
  QuantizeRule rule_;
  std::vector<float> history_;
  std::size_t next_ = 0;
};

}  // namespace lastbit::numerics

// GEMM of raw codes through a tensor core's steps: D = A B^T, to the bit, for any sizes.
//
// Chained: the steps along K in order, from c = 0 (D's accumulator is the tensor core's own). Promoted, as DeepSeek-V3
// (section 3.3.2) does on Hopper: every `every` elements of K the accumulator restarts from 0 and its value, the
// partial, is added to an FP32 register under the scales of its place. Three orders of that addition are in use and
// differ in bits; RN is round to nearest even in FP32:
//   kDeepgemm  s = RN(s_a s_b),  y = fma(partial, s, y)               deepseek-ai/DeepGEMM, sm90 kernels
//   kCublas    y = fma(RN(partial s_a), s_b, y)                       NVIDIA/TransformerEngine's blockwise reference
//   kMuladd    s = RN(s_a s_b),  y = RN(y + RN(partial s))            the first without contraction
// NaN results of the register are 0x7fffffff, as an NVIDIA FP32 pipe writes them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "numerics/mma.h"

namespace lastbit::numerics {

inline constexpr std::int64_t kScaleBlock = 128;  // elements of K, and rows of B, under one scale

enum class PromotionOrder : std::uint8_t { kNone, kDeepgemm, kCublas, kMuladd };

// none, deepgemm, cublas or muladd. Errors: another name is bad input, with a suggestion.
[[nodiscard]] PromotionOrder find_promotion(std::string_view name);
[[nodiscard]] std::string_view to_string(PromotionOrder order);

struct Promotion {
  PromotionOrder order = PromotionOrder::kNone;
  std::int64_t every = kScaleBlock;  // N_C, elements of K
};

// How many rows and elements of K of an operand share a scale: 1 x 128 and 128 x 128 in DeepSeek-V3's recipe, 1 x 32 in
// MX, rows x K for one scale a tensor, 1 x K for one a row.
struct ScaleTile {
  std::int64_t rows;
  std::int64_t k;

  friend bool operator==(const ScaleTile&, const ScaleTile&) = default;
};

// The roles of training are storage orders: fprop is NT (both as below), dgrad NN (b.transposed), wgrad TN (both).
struct GemmOperands {
  CodeMatrix a;                    // [M, K]
  CodeMatrix b;                    // [N, K]
  std::span<const float> scale_a;  // [ceil(M/tile_a.rows), ceil(K/tile_a.k)], or empty: 1
  std::span<const float> scale_b;  // [ceil(N/tile_b.rows), ceil(K/tile_b.k)], or empty: 1
  ScaleTile tile_a = {1, kScaleBlock};
  ScaleTile tile_b = {kScaleBlock, kScaleBlock};
};

// The shape of an operand's scales.
struct ScaleShape {
  std::int64_t rows;
  std::int64_t columns;
};
[[nodiscard]] ScaleShape scale_shape(const CodeMatrix& operand, ScaleTile tile);

// D [M, N], row-major, borrowed. With `accumulate` D holds C before, and RN(C + y) after: y is the FP32 result, the sum
// is rounded to FP32, then to `format`.
struct GemmOutput {
  Format format = Format::kF32;  // kF32, kBF16 or kF16; the latter two rounded to nearest even, beyond range Inf
  std::span<std::byte> bytes;    // of any alignment
  bool accumulate = false;
};

// `rule.d` is FP32. Steps and blocks at the end of K are padded with zeros; K = 0 gives +0. The bits depend neither on
// the number of threads nor on the instruction set (vector_target()): the vectorised paths of gemm_vector.cc give those
// of the plain one, which does what they do not (rules with FP16 accumulators, CDNA3, exact sums, open variants) and
// all outputs with an Inf, a NaN or an exponent beyond their range among the operands. Errors (bad input): `every` is
// not a positive multiple of the unit's step; scales without promotion; scales that differ within one promotion
// interval.
void gemm(const MmaRule& rule, const GemmOperands& operands, Promotion promotion, const GemmOutput& output);
// The same with D in FP32.
void gemm(const MmaRule& rule, const GemmOperands& operands, Promotion promotion, std::span<float> d);
// Many at once, threaded over the tiles of all: gemm() of each, in any order. Outputs do not overlap.
void gemm_batch(const MmaRule& rule, std::span<const GemmOperands> operands, Promotion promotion,
                std::span<const GemmOutput> outputs);
// gemm() by the plain path alone: one scalar step after the other.
void gemm_plain(const MmaRule& rule, const GemmOperands& operands, Promotion promotion, std::span<float> d);

// Whether gemm() has a vectorised path for this rule.
[[nodiscard]] bool vectorised(const MmaRule& rule);

// Bad input unless every scale is positive and finite; `what` (a file's name) and the coordinates are in the message.
void require_usable_scales(std::span<const float> scales, std::int64_t columns, const std::string& what);

}  // namespace lastbit::numerics

// GEMM of raw codes through a tensor core's steps: D = A B^T, to the bit, for any sizes.
//
// Chained: the steps along K in order, from c = 0 (D's accumulator is the tensor core's own). Promoted, as DeepSeek-V3
// (section 3.3.2) does on Hopper: every `every` elements of K the accumulator restarts from 0 and its value, the
// partial, is added to an FP32 register under the scales of its 128-wide block. Three orders of that addition are in
// use and differ in bits; RN is round to nearest even in FP32:
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

struct Promotion {
  PromotionOrder order = PromotionOrder::kNone;
  std::int64_t every = kScaleBlock;  // N_C, elements of K
};

struct GemmOperands {
  CodeMatrix a;                    // [M, K]
  CodeMatrix b;                    // [N, K]
  std::span<const float> scale_a;  // [M, ceil(K/128)], or empty: 1
  std::span<const float> scale_b;  // [ceil(N/128), ceil(K/128)], or empty: 1
};

// The shapes of scales: A's [a_rows, columns], B's [b_rows, columns].
struct ScaleShape {
  std::int64_t a_rows;
  std::int64_t b_rows;
  std::int64_t columns;
};
[[nodiscard]] ScaleShape scale_shape(const GemmOperands& operands);

// d: [M, N], row-major. `rule.d` is FP32. Steps and blocks at the end of K are padded with zeros; K = 0 gives +0. The
// bits do not depend on the number of threads. Errors (bad input): `every` is not a positive multiple of the unit's
// step; scales without promotion; scales that differ within one promotion interval (an interval longer than 128).
void gemm(const MmaRule& rule, const GemmOperands& operands, Promotion promotion, std::span<float> d);

// Bad input unless every scale is positive and finite; `what` (a file's name) and the coordinates are in the message.
void require_usable_scales(std::span<const float> scales, std::int64_t columns, const std::string& what);

}  // namespace lastbit::numerics

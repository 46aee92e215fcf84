// What follows the tensor core: promotion to an FP32 register, and the output's rounding.
#pragma once

#include "kernels/gemm/fp8_gemm.h"
#include "kernels/numbers/bf16.h"
#include "kernels/numbers/f16.h"

namespace lastbit::kernels {

constexpr int kScaleBlock = 128;

// numerics::promote(), with the NaN of an NVIDIA FP32 pipe.
__device__ inline float promote(PromotionOrder order, float partial, float scale_a, float scale_b, float y) {
  float result = partial;
  if (order == PromotionOrder::kDeepgemm) result = __fmaf_rn(partial, __fmul_rn(scale_a, scale_b), y);
  if (order == PromotionOrder::kCublas) result = __fmaf_rn(__fmul_rn(partial, scale_a), scale_b, y);
  if (order == PromotionOrder::kMuladd) result = __fadd_rn(y, __fmul_rn(partial, __fmul_rn(scale_a, scale_b)));
  return result == result ? result : __uint_as_float(0x7fffffffU);
}

__device__ inline void store_output(const Fp8Gemm& gemm, int row, int col, float y) {
  const std::size_t at =
      static_cast<std::size_t>(row) * static_cast<std::size_t>(gemm.n) + static_cast<std::size_t>(col);
  if (gemm.output == OutputFormat::kF32)
    static_cast<float*>(gemm.d)[at] = y;
  else
    static_cast<std::uint16_t*>(gemm.d)[at] = gemm.output == OutputFormat::kBf16 ? bf16_code(y) : f16_code(y);
}

// Scales of row `row` of A, and of column `col` of group `group` of B, in block `block` of K.
__device__ inline float scale_of_a(const Fp8Gemm& gemm, int row, int block) {
  const int blocks = (gemm.k + kScaleBlock - 1) / kScaleBlock;
  return gemm.scale_a == nullptr ? 1.0F : gemm.scale_a[row * blocks + block];
}
__device__ inline float scale_of_b(const Fp8Gemm& gemm, int group, int col, int block) {
  const int blocks = (gemm.k + kScaleBlock - 1) / kScaleBlock;
  const int rows = (gemm.n + kScaleBlock - 1) / kScaleBlock;
  return gemm.scale_b == nullptr ? 1.0F : gemm.scale_b[(group * rows + col / kScaleBlock) * blocks + block];
}

// The group that a row meets, -1: none.
__device__ inline int group_of_row(const Fp8Gemm& gemm, int row) {
  if (gemm.group_of_row != nullptr) return gemm.group_of_row[row];
  if (gemm.rows_of_group == nullptr) return 0;
  const int rows = gemm.m / gemm.groups;
  return row % rows < gemm.rows_of_group[row / rows] ? row / rows : -1;
}

}  // namespace lastbit::kernels

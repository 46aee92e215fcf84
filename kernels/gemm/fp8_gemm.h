// FP8 products under block scales, D = A B^T, with the bits of a Hopper tensor core (unit hopper_wgmma) and its
// promotion. Arrays are the device's, row-major; errors as launch().
#pragma once

#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

enum class PromotionOrder : std::uint8_t { kNone, kDeepgemm, kCublas, kMuladd };  // as in numerics/gemm.h
enum class OutputFormat : std::uint8_t { kF32, kBf16, kF16 };

// a [m, k], b [groups, n, k] codes; scale_a [m, ceil(k/128)], scale_b [groups, ceil(n/128), ceil(k/128)], both null: 1.
// d [m, n] of `output`. Which of the groups of B a row of A meets, with +0 for a row that meets none:
// group_of_row [m], -1 for none; or rows_of_group [groups], of m / groups rows each the first of which count; both
// null: one group.
struct Fp8Gemm {
  const std::uint8_t* a;
  const std::uint8_t* b;
  const float* scale_a;
  const float* scale_b;
  const std::int32_t* group_of_row;
  const std::int64_t* rows_of_group;
  void* d;
  int m;
  int n;
  int k;
  int groups;
  bool a_e5m2;
  bool b_e5m2;
  PromotionOrder promotion;
  int promote_every;  // elements of K, a multiple of 32
  OutputFormat output;
};

// The steps of hopper_wgmma in integer arithmetic, on GPUs without its tensor core, too.
void fp8_gemm_1x128_128x128_nt_emulated(const Fp8Gemm& gemm, Version version);

// On Hopper's tensor core, operands by TMA, promotion in registers (sm_90a). E4M3, one group, no grouping, promotion
// every 128 or none, k a multiple of 16. Errors: bad input for anything else.
void fp8_gemm_1x128_128x128_nt_wgmma(const Fp8Gemm& gemm, Version version);

}  // namespace lastbit::kernels

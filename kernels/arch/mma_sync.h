// Tensor-core products of one warp on operands in registers (sm_80). On the host the result is the numerics model's:
// the 16-bit rule of unit ampere_mma.
#pragma once

#include <cstdint>

#include "kernels/simt/cuda.h"

namespace lastbit::arch {

// d += a b^T: a [16, 16] and b [8, 16] codes of BF16, d [16, 8] FP32. Lane l holds, with g = l / 4 and t = l % 4, of a
// the pairs (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), of b the pairs (g, 2t), (g, 2t + 8), of d the pairs
// (g, 2t), (g + 8, 2t); the first of a pair is the low half. By all lanes of a warp.
#if defined(__CUDACC__)
__device__ inline void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);
#endif

}  // namespace lastbit::arch

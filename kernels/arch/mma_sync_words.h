// mma.sync of any operand type, on words: one instruction takes 32 bytes of K whatever the width of a code. For probing
// a tensor core. On the host the device is a Hopper: unit hopper_mma_sync.
#pragma once

#include <cstdint>

#include "kernels/simt/cuda.h"

namespace lastbit::arch {

enum class MmaTypes : std::uint8_t { kE4M3, kE5M2, kE4M3E5M2, kF16, kBF16, kTF32 };

// d += a b^T, d FP32: a [16, 32 bytes] and b [8, 32 bytes]. Lane l holds, with g = l / 4 and t = l % 4, of a the words
// (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4), of b the words (g, t), (g, t + 4), of d the pairs of columns (g, 2t)
// and (g + 8, 2t). By all lanes of a warp. FP8 exists from sm_89 on; before that d is left as it is.
#if defined(__CUDACC__)
#define LASTBIT_MMA_SYNC(SHAPE, TYPES)                                                \
  asm volatile("mma.sync.aligned." SHAPE ".row.col.f32." TYPES                        \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
template <MmaTypes kTypes>
__device__ void mma_sync_words(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  if constexpr (kTypes == MmaTypes::kE4M3) LASTBIT_MMA_SYNC("m16n8k32", "e4m3.e4m3");
  if constexpr (kTypes == MmaTypes::kE5M2) LASTBIT_MMA_SYNC("m16n8k32", "e5m2.e5m2");
  if constexpr (kTypes == MmaTypes::kE4M3E5M2) LASTBIT_MMA_SYNC("m16n8k32", "e4m3.e5m2");
#endif
  if constexpr (kTypes == MmaTypes::kF16) LASTBIT_MMA_SYNC("m16n8k16", "f16.f16");
  if constexpr (kTypes == MmaTypes::kBF16) LASTBIT_MMA_SYNC("m16n8k16", "bf16.bf16");
  if constexpr (kTypes == MmaTypes::kTF32) LASTBIT_MMA_SYNC("m16n8k8", "tf32.tf32");
}
#undef LASTBIT_MMA_SYNC
#else
void mma_sync_words(MmaTypes types, float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);
template <MmaTypes kTypes>
void mma_sync_words(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  mma_sync_words(kTypes, d, a, b);
}
#endif

}  // namespace lastbit::arch

// The tensor core of Hopper: wgmma of a warpgroup on operands in shared memory (sm_90a). On the host its result *is*
// the numerics model's: unit hopper_wgmma.
#pragma once

#include <cstdint>

#include "kernels/arch/shared_address.h"

namespace lastbit::arch {

inline constexpr int kWgmmaRows = 64;
inline constexpr int kWgmmaBytes = 32;  // of K an instruction

// The operand whose rows of 128 bytes lie in shared memory one after the other through swizzle_128(), from `tile`, a
// multiple of 1024 bytes, on; of K the 32 bytes from `k` on, a multiple of 32.
// Bits 0 to 13: address / 16. 16 to 29: unused under a swizzle, 1. 32 to 45: bytes between groups of 8 rows, / 16.
// 62 and 63: 1, the 128-byte swizzle. Source: PTX ISA, "Matrix-descriptor format".
__device__ inline std::uint64_t wgmma_descriptor(const void* tile, int k) {
  const std::uint64_t address = (shared_address(tile) + static_cast<unsigned>(k)) & 0x3ffffU;
  return (address >> 4) | (std::uint64_t{1} << 16) | (std::uint64_t{1024 >> 4} << 32) | (std::uint64_t{1} << 62);
}

// Element i of a thread's accumulators of an instruction with N columns lies in this row and column of D.
struct WgmmaPlace {
  int row;
  int col;
};
__device__ inline WgmmaPlace wgmma_place(int thread, int i) {
  return {thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, i / 4 * 8 + thread % 4 * 2 + i % 2};
}

#if defined(__CUDACC__)
// Before the first product, and again whenever accumulators were touched since: orders registers before wgmma.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most kLeft groups, the youngest, may be running; the accumulators of the others may be touched.
template <int kLeft>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}
// d = a b^T, plus d where `accumulate`: a [64, 32] and b [128, 32] codes of E4M3 behind descriptors, d FP32. By all
// threads of a warpgroup; d may not be touched before wgmma_wait().
__device__ inline void wgmma_m64n128k32_e4m3(float (&d)[64], std::uint64_t a, std::uint64_t b, bool accumulate) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "{.reg .pred p; setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, "
      "%8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, "
      "%24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, "
      "%40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, "
      "%56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, p, 1, 1;}"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]),
        "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]),
        "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]),
        "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]),
        "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]),
        "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]),
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),
        "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "l"(a), "l"(b), "r"(accumulate ? 1 : 0));
#endif
}
#else
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int left);
template <int kLeft>
void wgmma_wait() {
  wgmma_wait(kLeft);
}
void wgmma_e4m3(float* d, int columns, std::uint64_t a, std::uint64_t b, bool accumulate);
inline void wgmma_m64n128k32_e4m3(float (&d)[64], std::uint64_t a, std::uint64_t b, bool accumulate) {
  wgmma_e4m3(d, 128, a, b, accumulate);
}
#endif

}  // namespace lastbit::arch

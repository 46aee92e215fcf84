// CUDA's words for a host compiler: what nvcc knows by itself.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/simt/finding.h"

#define __host__
#define __device__
#define __global__ __attribute__((noinline))
#define __shared__ static
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

struct dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};
struct uint3 {
  unsigned x, y, z;
};

// Of the thread that runs; constants to a kernel, so that reading them is no access to memory (builtin_indices.cc). Not
// of type dim3, of which a compiler would think that it has to be made at run time, and is no constant.
extern const uint3 threadIdx;
extern const uint3 blockIdx;
extern const uint3 blockDim;
extern const uint3 gridDim;
inline constexpr int warpSize = 32;

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

using std::max;
using std::min;

inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
template <typename T>
T __ldg(const T* address) {
  return *address;
}

// All threads of the block meet; what they wrote before is seen after. Every one of them comes by the same line.
void __syncthreads(lastbit::simt::Site site = {__builtin_FILE(), __builtin_LINE()});
// Order between writes of this thread for others to see: the executor's threads see every write at once.
inline void __threadfence() {}
inline void __threadfence_block() {}

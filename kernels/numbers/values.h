// Values that kernels read and write as FP32 or as BF16 codes and compute with in FP32.
#pragma once

#include "kernels/numbers/bf16.h"

namespace lastbit::kernels {

__device__ inline float load_value(const float* from) { return *from; }
__device__ inline float load_value(const std::uint16_t* from) { return bf16_value(*from); }
__device__ inline void store_value(float* to, float value) { *to = value; }
__device__ inline void store_value(std::uint16_t* to, float value) { *to = bf16_code(value); }

// How many of a type are 16 bytes.
template <typename T>
constexpr int kVectorValues = static_cast<int>(16 / sizeof(T));

// As many neighbours, at a multiple of 16 bytes, in one access.
__device__ inline void load_vector(const float* from, float (&values)[4]) {
  const float4 all = *reinterpret_cast<const float4*>(from);
  values[0] = all.x;
  values[1] = all.y;
  values[2] = all.z;
  values[3] = all.w;
}
__device__ inline void store_vector(float* to, const float (&values)[4]) {
  *reinterpret_cast<float4*>(to) = float4{values[0], values[1], values[2], values[3]};
}
__device__ inline void load_vector(const std::uint16_t* from, float (&values)[8]) {
  const uint4 all = *reinterpret_cast<const uint4*>(from);
  const unsigned pairs[4] = {all.x, all.y, all.z, all.w};
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i] = bf16_value(static_cast<std::uint16_t>(pairs[i / 2] >> (16 * (i % 2))));
}
__device__ inline void store_vector(std::uint16_t* to, const float (&values)[8]) {
  const auto pair = [&](int i) { return unsigned{bf16_code(values[i])} | unsigned{bf16_code(values[i + 1])} << 16; };
  *reinterpret_cast<uint4*>(to) = uint4{pair(0), pair(2), pair(4), pair(6)};
}

}  // namespace lastbit::kernels

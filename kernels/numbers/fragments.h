// Operands of mma.sync m16n8k16 from BF16 codes, by the lane that holds them (arch/mma_sync.h).
#pragma once

#include <cstdint>

#include "kernels/arch/mma_sync.h"

namespace lastbit::kernels {

constexpr int kFragmentDepth = 16;

struct LanePlace {
  int group;  // row of A, column of B, row of D
  int pair;   // first of two columns
};
__device__ inline LanePlace lane_place() {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  return {lane / 4, lane % 4 * 2};
}

__device__ inline unsigned pack_pair(std::uint16_t low, std::uint16_t high) {
  return unsigned{low} | unsigned{high} << 16;
}
// Two codes beside each other, at an even element.
__device__ inline unsigned load_pair(const std::uint16_t* codes) { return *reinterpret_cast<const unsigned*>(codes); }

constexpr int kEight = 8;  // codes of 16 bytes

__device__ inline uint4 pack_eight(const std::uint16_t (&codes)[kEight]) {
  return uint4{pack_pair(codes[0], codes[1]), pack_pair(codes[2], codes[3]), pack_pair(codes[4], codes[5]),
               pack_pair(codes[6], codes[7])};
}
// Eight neighbours from `from` on, zeros from `count` on: one load where they all count and the address allows it.
__device__ inline uint4 load_eight(const std::uint16_t* from, int count) {
  if (count >= kEight && reinterpret_cast<std::uintptr_t>(from) % sizeof(uint4) == 0)
    return *reinterpret_cast<const uint4*>(from);
  std::uint16_t codes[kEight];
#pragma unroll
  for (int i = 0; i < kEight; ++i) codes[i] = i < count ? from[i] : std::uint16_t{0};
  return pack_eight(codes);
}
__device__ inline void store_eight(std::uint16_t* to, const uint4& codes) { *reinterpret_cast<uint4*>(to) = codes; }

// Rows [0, 16) and columns [col, col + 16) of a row-major matrix.
__device__ inline void load_a(unsigned (&a)[4], const std::uint16_t* matrix, int stride, int col) {
  const LanePlace place = lane_place();
  const std::uint16_t* const top = matrix + place.group * stride + col + place.pair;
  a[0] = load_pair(top);
  a[1] = load_pair(top + 8 * stride);
  a[2] = load_pair(top + 8);
  a[3] = load_pair(top + 8 * stride + 8);
}
// B^T [8, 16] from rows [0, 8) of a row-major matrix: columns [col, col + 16).
__device__ inline void load_b_rows(unsigned (&b)[2], const std::uint16_t* matrix, int stride, int col) {
  const LanePlace place = lane_place();
  const std::uint16_t* const row = matrix + place.group * stride + col + place.pair;
  b[0] = load_pair(row);
  b[1] = load_pair(row + 8);
}
// B [16, 8] from rows [0, 16) of a row-major matrix: columns [col, col + 8).
__device__ inline void load_b_cols(unsigned (&b)[2], const std::uint16_t* matrix, int stride, int col) {
  const LanePlace place = lane_place();
  const std::uint16_t* const top = matrix + place.pair * stride + col + place.group;
  b[0] = pack_pair(top[0], top[stride]);
  b[1] = pack_pair(top[8 * stride], top[9 * stride]);
}

// Over the four lanes that hold a row of D.
__device__ inline float row_max(float value) {
  value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, 1));
  return fmaxf(value, __shfl_xor_sync(0xffffffffU, value, 2));
}
__device__ inline float row_sum(float value) {
  value += __shfl_xor_sync(0xffffffffU, value, 1);
  return value + __shfl_xor_sync(0xffffffffU, value, 2);
}

}  // namespace lastbit::kernels

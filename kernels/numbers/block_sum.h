// Sums and maxima over the threads of a block, in an order that depends on nothing but their number.
#pragma once

#include "kernels/simt/cuda.h"

namespace lastbit::kernels {

// Over a warp, for all of its lanes: neighbours at distance 16, 8, 4, 2, 1.
template <typename Number>
__device__ Number warp_sum(Number value) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffU, value, lanes);
  return value;
}

// Over all threads of the block, for all of them; `space` is shared memory of a number a warp. Warps in ascending
// order. The space may be used again after another barrier. Number: float or double.
template <int kThreads, typename Number>
__device__ Number block_sum(Number value, Number* space) {
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) space[threadIdx.x / 32] = value;
  __syncthreads();
  Number sum = space[0];
  for (int i = 1; i < kThreads / 32; ++i) sum += space[i];
  return sum;
}

template <int kThreads>
__device__ float block_max(float value, float* space) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, lanes));
  if (threadIdx.x % 32 == 0) space[threadIdx.x / 32] = value;
  __syncthreads();
  float largest = space[0];
  for (int i = 1; i < kThreads / 32; ++i) largest = fmaxf(largest, space[i]);
  return largest;
}

}  // namespace lastbit::kernels

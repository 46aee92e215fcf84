// The order of numerics/reduce.h, by one thread: eight lanes, every product and every addition rounded, and a tree.
#pragma once

#include <cstddef>

#include "kernels/numbers/values.h"

namespace lastbit::kernels {

// `Number` is float or double.
template <typename Number>
struct LaneSum {
  Number lane[8];

  __device__ void add(std::size_t i, Number term) { lane[i % 8] += term; }
  __device__ Number total() const {
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
  }
};

// As numerics::dot().
template <typename T>
__device__ float lane_dot(const T* x, const T* y, int count) {
  LaneSum<float> sum = {};
  for (int i = 0; i < count; ++i) sum.add(static_cast<std::size_t>(i), __fmul_rn(load_value(x + i), load_value(y + i)));
  return sum.total();
}

}  // namespace lastbit::kernels

// FP32 values or BF16 codes on the device: what the kernels of this folder read and write, computing in FP32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/numbers/values.h"
#include "kernels/plain/values_view.h"

namespace lastbit::kernels {

__device__ inline float load_value(const Values& values, std::size_t at) {
  return values.bf16 ? load_value(static_cast<const std::uint16_t*>(values.data) + at)
                     : load_value(static_cast<const float*>(values.data) + at);
}

// To nearest even where they are codes.
__device__ inline void store_value(const Values& values, std::size_t at, float value) {
  if (values.bf16)
    store_value(static_cast<std::uint16_t*>(values.data) + at, value);
  else
    store_value(static_cast<float*>(values.data) + at, value);
}

// Of a matrix of `cols` columns.
__device__ inline std::size_t element_at(int row, int cols, int col) {
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(cols) + static_cast<std::size_t>(col);
}

// Blocks of `each` that cover `count`, as a grid in x. More than an unsigned counts stay too many, for launch() to
// refuse.
inline dim3 blocks_of(std::size_t count, unsigned each) {
  const std::size_t blocks = (count + each - 1) / each;
  return dim3{blocks < 0xffffffffU ? static_cast<unsigned>(blocks) : 0xffffffffU, 1, 1};
}

}  // namespace lastbit::kernels

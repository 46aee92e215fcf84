// What TMA takes, for both sides of make_tensor_map().
#pragma once

#include <cstdint>

#include "core/error.h"
#include "kernels/arch/async_copy.h"

namespace lastbit::arch {

// Errors (bad input): a shape or an address that cuTensorMapEncodeTiled does not take.
inline void require_tile_shape(const void* matrix, const TileShape& shape) {
  if (reinterpret_cast<std::uintptr_t>(matrix) % 16 != 0 || shape.cols % 16 != 0 || shape.cols == 0 || shape.rows == 0)
    core::fail_input("TMA: a matrix of {} x {} bytes, expected rows of a positive multiple of 16", shape.rows,
                     shape.cols);
  const bool cols = shape.swizzle ? shape.box_cols == 128 : shape.box_cols % 16 == 0 && shape.box_cols <= 128;
  if (!cols || shape.box_cols == 0 || shape.box_rows == 0 || shape.box_rows > 256)
    core::fail_input("TMA: a box of {} x {} bytes, expected up to 256 rows of 16 to 128 (128 with a swizzle)",
                     shape.box_rows, shape.box_cols);
}

}  // namespace lastbit::arch

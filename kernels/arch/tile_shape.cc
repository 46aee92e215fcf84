#include "kernels/arch/tile_shape.h"

#include "core/error.h"

namespace lastbit::arch {

void require_tile_shape(const void* matrix, std::uint64_t rows, std::uint64_t cols, unsigned box_rows,
                        unsigned box_cols, bool swizzle) {
  if (reinterpret_cast<std::uintptr_t>(matrix) % 16 != 0 || cols % 16 != 0 || cols == 0 || rows == 0)
    core::fail_input("TMA: a matrix of {} x {} bytes, expected rows of a positive multiple of 16", rows, cols);
  const bool fits = swizzle ? box_cols == 128 : box_cols % 16 == 0 && box_cols <= 128;
  if (!fits || box_cols == 0 || box_rows == 0 || box_rows > 256)
    core::fail_input("TMA: a box of {} x {} bytes, expected up to 256 rows of 16 to 128 (128 with a swizzle)", box_rows,
                     box_cols);
}

}  // namespace lastbit::arch

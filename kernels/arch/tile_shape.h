// What TMA takes, for both sides of make_tensor_map().
#pragma once

#include <cstdint>

namespace lastbit::arch {

// Errors (bad input): a matrix, at an address, and boxes that cuTensorMapEncodeTiled does not take (async_copy.h).
void require_tile_shape(const void* matrix, std::uint64_t rows, std::uint64_t cols, unsigned box_rows,
                        unsigned box_cols, bool swizzle);

}  // namespace lastbit::arch

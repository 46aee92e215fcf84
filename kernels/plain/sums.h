// Sums in double: the norm of gradients, and losses. Arrays are the device's; errors as launch().
#pragma once

#include <cstddef>
#include <cstdint>

namespace lastbit::kernels {

// total [1] = the sum of parts [count], ascending: of sum_squares(), the norm's square.
void sum_parts(const double* parts, std::size_t count, double* total);

// total [1] = the sum of x [count] FP32 in double, ascending: a loss of its tokens.
void sum_in_double(const float* x, std::size_t count, double* total);

}  // namespace lastbit::kernels

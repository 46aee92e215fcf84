// Sums in double: the norm of gradients, and losses. Arrays are the device's; errors as launch().
#pragma once

#include <cstddef>
#include <cstdint>

namespace lastbit::kernels {

// Blocks of square_sums(): as many doubles of room.
std::size_t square_sum_parts(std::size_t count);
// parts [square_sum_parts(count)] = sums of squares of pieces of x in double; the norm's square is their sum. A NaN or
// Inf in x makes a part one.
void square_sums(const float* x, std::size_t count, double* parts);
// total [1] = the parts' sum, ascending.
void sum_parts(const double* parts, std::size_t count, double* total);

// total [1] = the sum of x [count] FP32 in double, ascending: a loss of its tokens.
void sum_in_double(const float* x, std::size_t count, double* total);

}  // namespace lastbit::kernels

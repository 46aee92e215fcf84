// Clipping of all gradients together by their norm, without a word from the host (train/gradient_clip.h). Arrays are
// the device's; each function launches one kernel; errors as launch().
#pragma once

#include <cstddef>

#include "kernels/version.h"

namespace lastbit::kernels {

constexpr std::size_t kNormRange = 65536;  // elements of a partial sum

// sums [ceil(count / kNormRange)]: of the squares of each range of x [count] FP32, in double. v0 takes the order of
// train::gradient_norm(); the tuned version threads at a stride of the block, then block_sum()'s order. Of several
// arrays the sums lie one after the other.
void sum_squares(const float* x, std::size_t count, double* sums, Version version);

// norm = sqrt of the sum of sums [ranges] in order; factor = RN(min(1, max_norm / (norm + 1e-6))). A gradient that is
// not finite leaves a norm that is not finite: the host looks at it before it goes on. One thread.
void clip_factor(const double* sums, std::size_t ranges, double max_norm, double* norm, float* factor);

// x [count] = RN(x factor), at a multiple of 16 bytes for the tuned version.
void scale_values(float* x, std::size_t count, const float* factor, Version version);

}  // namespace lastbit::kernels

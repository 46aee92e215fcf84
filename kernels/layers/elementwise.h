// Sums of residuals and casts. Arrays are the device's, at multiples of 16 bytes for tuned versions; each function
// launches one kernel; errors as launch().
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

// y = a + b, [count] each, in FP32 rounded to T: float or std::uint16_t (BF16 codes). y may be a or b.
template <typename T>
void add(const T* a, const T* b, std::size_t count, T* y, Version version);

// To nearest even, beyond the largest number Inf, a NaN 0x7fff; and back, exactly.
void to_bf16(const float* x, std::size_t count, std::uint16_t* y, Version version);
void to_fp32(const std::uint16_t* x, std::size_t count, float* y, Version version);

}  // namespace lastbit::kernels

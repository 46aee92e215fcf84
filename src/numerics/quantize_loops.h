// The inner loops of quantisation, vectorised. Each has the bits of the scalar sentence that describes it.
#pragma once

#include <cstdint>

#include "numerics/format.h"

namespace lastbit::numerics {

inline constexpr std::uint32_t kInfinityBits = 0x7f800000u;

// bits[j] = max(bits[j], the bit pattern of |x[i]|) for all i of segment j; segments are `segment` elements long, the
// last may be shorter. Above kInfinityBits - 1 a segment has an element that is not finite.
void raise_magnitudes(const float* x, std::int64_t count, std::int64_t segment, std::uint32_t* bits);

// codes[i] = encode(RN(x[i] / divisors[j]), format), or of RN(x[i] * factors[j]), j the segment of i: E4M3, E5M2
// or E2M1, nearest even, saturating. No quotient or product is a NaN.
void encode_divided(const float* x, std::int64_t count, std::int64_t segment, const float* divisors, Format format,
                    std::uint8_t* codes);
void encode_multiplied(const float* x, std::int64_t count, std::int64_t segment, const float* factors, Format format,
                       std::uint8_t* codes);

// to[j * to_stride + i] = from[i * from_stride + j] for i < rows, j < cols.
void transpose_bytes(const std::uint8_t* from, std::int64_t rows, std::int64_t cols, std::int64_t from_stride,
                     std::uint8_t* to, std::int64_t to_stride);

}  // namespace lastbit::numerics

// The inner loops of quantisation, vectorised. Each has the bits of the scalar sentence that describes it.
#pragma once

#include <cstdint>

#include "numerics/format.h"

namespace lastbit::numerics {

// The largest of the bit patterns of |x[i]|: above kInfinityBits - 1 one of them is not finite.
inline constexpr std::uint32_t kInfinityBits = 0x7f800000u;
[[nodiscard]] std::uint32_t largest_magnitude(const float* x, std::int64_t count);
// bits[i] = max(bits[i], the bit pattern of |x[i]|).
void raise_magnitudes(const float* x, std::int64_t count, std::uint32_t* bits);

// codes[i] = encode(RN(x[i] / divisor), format), or of RN(x[i] * factor): E4M3 or E5M2, nearest even, saturating; x
// finite.
void encode_divided(const float* x, std::int64_t count, float divisor, Format format, std::uint8_t* codes);
void encode_multiplied(const float* x, std::int64_t count, float factor, Format format, std::uint8_t* codes);
// The same with a divisor or factor for each element.
void encode_divided(const float* x, std::int64_t count, const float* divisors, Format format, std::uint8_t* codes);
void encode_multiplied(const float* x, std::int64_t count, const float* factors, Format format, std::uint8_t* codes);

}  // namespace lastbit::numerics

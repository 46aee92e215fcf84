// Families of inputs that stress a tensor core's rule or a quantiser, each by name, the same for a seed everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "numerics/format.h"

namespace lastbit::check {

enum class InputFamily : std::uint8_t {
  kAllCodes,    // "all_codes": every finite code alike; all exponents, many truncations
  kNormal,      // "normal": N(0, 1)
  kOutlier,     // "outlier": one large element in 29 among small ones
  kCancelling,  // "cancelling": few magnitudes near 1 whose sign changes from each element to the next
  kSparse,      // "sparse": nine of ten are zeros of either sign
  kZeroRows,    // "zero_rows": every third row is zeros of either sign, the others as in all_codes
  kSubnormal,   // "subnormal": the format's smallest numbers
  kConstant,    // "constant": one magnitude, random signs
  kSpecials,    // "specials": one in 997 an Inf or a NaN, where the format has one
  kSaturating,  // "saturating": every other element within a factor of two of the largest number
  kZeroBlocks,  // "zero_blocks": every third run of 128 elements is zeros, the others as in all_codes
};

[[nodiscard]] std::span<const InputFamily> input_families();
[[nodiscard]] std::string_view to_string(InputFamily family);
[[nodiscard]] std::string_view meaning(InputFamily family);  // one line
// Errors: an unknown name is bad input, with a suggestion.
[[nodiscard]] InputFamily find_input_family(std::string_view name);

struct MatrixShape {
  std::int64_t rows;
  std::int64_t cols;
};

// Codes of a row-major matrix, each describe(format).storage_bytes wide, from the stream (seed, purpose, family). Any
// format with a sign; FP32 gives numbers for quantisers and casts.
[[nodiscard]] std::vector<std::byte> draw_codes(InputFamily family, numerics::Format format, MatrixShape shape,
                                                std::uint64_t seed, std::string_view purpose);

// Positive scales from 2^-8 to 2^8, of any significand.
[[nodiscard]] std::vector<float> draw_scales(std::int64_t count, std::uint64_t seed, std::string_view purpose);

}  // namespace lastbit::check

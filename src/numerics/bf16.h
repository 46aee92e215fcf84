// FP32 to BF16 for the loops that convert whole tensors: encode()'s bits for Format::kBF16 under its default options,
// without its generality, so that compilers vectorise it.
#pragma once

#include <bit>
#include <cstdint>

namespace lastbit::numerics {

// Rounds to nearest even; beyond the largest number Inf; a NaN becomes 0x7fff.
[[nodiscard]] constexpr std::uint16_t bf16_code(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
  const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
  return static_cast<std::uint16_t>(nan ? 0x7fffU : rounded);
}

[[nodiscard]] constexpr float bf16_value(std::uint16_t code) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(code) << 16);
}

[[nodiscard]] constexpr float round_bf16(float value) { return bf16_value(bf16_code(value)); }

}  // namespace lastbit::numerics

// The block-scaled FP4 step of Blackwell's tcgen05.mma (kinds mxf4 and mxf4nvf4): E2M1 operands, one scale a block.
//
// The rule (MMA-Sim, arXiv 2511.10909): the products of 16 neighbours in K add up exactly; that sum times the
// significands of its two scales is one term, of exponent e_scale_a + e_scale_b; terms and c are truncated toward zero
// to multiples of 2^(E - 35) and added up; the sum is truncated to FP32. A NaN scale gives NaN. Unverified: there are
// no vectors for it here, and whether a partial sum of zero takes part in E (here it does not) is open.
//
// Width: a partial sum is at most 16 * 36, two scale significands are below 2 each: a term is below 2^12 at its own
// exponent, so below 2^(35 + 12) units of 2^(E - 35). int64 holds the sum of four such terms and c.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "numerics/mma.h"

namespace lastbit::numerics {

struct BlockScaledRule {
  std::string name;  // "mxf4", "nvf4", "nvf4_e8m0"
  Format scale;      // kE8M0, or kE4M3 whose sign is ignored (UE4M3)
  int block;         // elements of K under one scale: 16 or 32
  int fraction_bits = 35;
  int step_k = 64;
  int exact_group = 16;  // elements whose products add up exactly
};

// tcgen05's kinds: mxf4 (E8M0, 32), nvf4 (UE4M3, 16), nvf4_e8m0 (E8M0, 16).
[[nodiscard]] std::span<const BlockScaledRule> block_scaled_rules();

// One step. a, b: step_k E2M1 operands; scales_a, scales_b: step_k / block codes of rule.scale; c and the result are
// FP32 codes.
[[nodiscard]] std::uint32_t block_scaled_step(const BlockScaledRule& rule, OperandRow a, OperandRow b,
                                              std::span<const std::uint8_t> scales_a,
                                              std::span<const std::uint8_t> scales_b, std::uint32_t c_code);

}  // namespace lastbit::numerics

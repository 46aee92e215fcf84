// One tensor-core step, D = sum_k a_k b_k + c over a group of K, to the bit, as a function of a parameter set.
//
// The rule (Fasi et al. 2021; MMA-Sim, arXiv 2511.10909; Khattak and Mikaitis, arXiv 2512.07004):
// 1. An operand is (s, e), 1 <= |s| < 2; a subnormal keeps the format's least exponent and has |s| < 1. A product is
//    s_a s_b with exponent e_a + e_b, not renormalised. Zero products and a zero c take no part in what follows.
// 2. E = the largest exponent among products and c. Every term is truncated toward zero to a multiple of 2^(E - F);
//    the truncated terms add up exactly.
// 3. The sum is put on the output's grid: truncated for FP32 and E8M13, rounded to nearest even for FP16. Overflow is
//    Inf; a result of zero is +0, whatever rounded to it. Inf and NaN follow the IEEE sum of the terms.
//
// Width: a truncated term is below 2^(F + 2), so 65 of them at F = 35 (the largest F here) need 44 bits: int64 holds
// every sum. No term has more than 24 significant bits before it is shifted, and shifts to the left are at most F.
//
// Open questions, where sources disagree or are silent:
// - Whether 0 times x takes part in E. It can matter only when c is below 2^-118 and all else is smaller. Here it does
//   not; MmaRule::zero_exponent gives the other reading (MMA-Sim at commit c785138: zero has exponent -126).
// - Whether E has a lower clamp (at -133). Here it has none; MmaRule::least_alignment gives the other reading.
// - The published H100 FP8 records agree with c taken as 0 only: their file's c is no part of their D. What wgmma does
//   with an FP8 accumulator rests on MMA-Sim, not on records that were captured from a GPU.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "numerics/format.h"
#include "numerics/operands.h"

namespace lastbit::numerics {

enum class Accumulation : std::uint8_t {
  kTruncated,   // the rule above
  kCdna3,       // products at F as above, but without c; then both floored to a wider grid and rounded once
  kCdna3Split,  // the same, even and odd k apart (CDNA3's 8-bit types)
  kExact,       // the exact sum, rounded once
  kFp16Halves,  // 8-bit operands as FP16 in two steps of kTruncated from 0, first k with k mod 4 < 2, then the others;
                // then c is added and rounded to nearest even (mma.sync on Hopper, found on an H200: see units.cc)
};

// Everything that a step depends on.
struct MmaRule {
  Format a = Format::kE4M3;
  Format b = Format::kE4M3;
  Format d = Format::kF32;  // of c and d: kF32 or kF16
  Accumulation accumulation = Accumulation::kTruncated;
  int fraction_bits = 0;  // F; unused by kExact
  int step_k = 0;         // the K of a step: longer dots run in steps, shorter ones are padded with zeros
  Format output_grid = Format::kF32;
  Rounding output_rounding = Rounding::kTowardZero;
  std::uint32_t nan_code = 0x7fffffffu;
  // Named variants for the open questions above; by default off.
  std::optional<int> zero_exponent;    // of a zero operand and a zero c, when they shall take part in E
  std::optional<int> least_alignment;  // E is at least this
};

// One step: a and b hold rule.step_k operands each; c and the result are codes of rule.d.
[[nodiscard]] std::uint32_t mma_step(const MmaRule& rule, OperandRow a, OperandRow b, std::uint32_t c_code);

// Independent dots: d[i] = a[i, :] . b[i, :] + c[i] in ceil(K / step_k) steps, at least one. a and b: [n, K] codes of
// rule.a and rule.b; c: n codes of rule.d, or empty for +0; d: n codes. Threaded over records; the bits do not depend
// on the number of threads.
void mma(const MmaRule& rule, const CodeMatrix& a, const CodeMatrix& b, std::span<const std::uint32_t> c,
         std::span<std::uint32_t> d);

}  // namespace lastbit::numerics

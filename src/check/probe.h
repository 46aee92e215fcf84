// The arithmetic of an unknown tensor core, from outputs alone.
//
// A designed set of dots goes in: numbers of all exponents without zeros, pairs that cancel over small products (what
// survives tells the fraction bits; a c that cancels tells whether it is aligned with the products), ties, subnormals,
// zeros, and c far below everything. Every rule that a unit file can say (io/unit_file.h) is then held against the
// answers, and those that give all of them are left: 55,000 rules, each gone at its first wrong bit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "check/implementation.h"
#include "numerics/gemm.h"
#include "numerics/units.h"
#include "tensor/tensor.h"

namespace lastbit::check {

// Which instruction is asked, and through what.
struct ProbeQuestion {
  numerics::Format a = numerics::Format::kE4M3;
  numerics::Format b = numerics::Format::kE4M3;
  numerics::Format d = numerics::Format::kF32;  // of c and d
  std::int64_t k = 64;                          // of one dot: an instruction's K, or more for a chain of them

  [[nodiscard]] std::string name() const;  // "e4m3.e4m3.f32"
};

// a [n, k], b [n, k] and c [n] codes in the dtypes of contract mma: d[i] = a[i, :] . b[i, :] + c[i].
[[nodiscard]] tensor::NamedTensors probe_inputs(const ProbeQuestion& question, std::uint64_t seed);

struct ProbeAnswer {
  bool found = false;       // a rule gives every answer
  numerics::UnitRow row{};  // that rule; else the one that gives the most answers of those looked at
  std::int64_t records = 0;
  std::int64_t matched = 0;  // by `row`
  // What was seen without any rule, and what cannot be told apart.
  std::vector<std::string> observations;
};

// `d`: [n] codes of question.d, as f32, f16 or unsigned integers. Errors (bad input): another dtype or length.
[[nodiscard]] ProbeAnswer infer_rule(const ProbeQuestion& question, const tensor::NamedTensors& inputs,
                                     const tensor::Tensor& d);

// The same through a kernel of contract mma. Nothing where the kernel does not support these types. Errors (bad input):
// it fails, crashes or does not end.
[[nodiscard]] std::optional<ProbeAnswer> probe_mma(const ProbeQuestion& question, const Implementation& kernel,
                                                   std::uint64_t seed);

// Through a kernel of a matrix product (fp8_gemm or bf16_gemm, D in question.d or in BF16): the rule from all dots of
// its rows and columns, c being what comes before in the chain, then how its partial sums are promoted.
struct GemmProbeAnswer {
  ProbeAnswer rule;
  // Every (order, interval) that gives all results; several where they cannot be told apart.
  std::vector<numerics::Promotion> promotions;
};
[[nodiscard]] std::optional<GemmProbeAnswer> probe_gemm(const ProbeQuestion& question, numerics::Format output,
                                                        const Implementation& kernel, std::uint64_t seed);

// Rows that say the same for several operand types as one row. `mixed`: whether a pair of different types was probed
// and follows the same rule.
[[nodiscard]] numerics::Unit unit_of_rows(const std::string& name, const std::vector<numerics::UnitRow>& rows,
                                          bool mixed);

}  // namespace lastbit::check

// What a tensor core's short accumulator costs over a long K, and what promotion every N_C elements wins back.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "numerics/gemm.h"

namespace lastbit::check {

// Codes of D = A B^T are drawn in FP32 and cast to the rule's formats as they are, without scales.
enum class StudyInputs : std::uint8_t {
  kNormal,   // N(0, 1): sums near zero, errors of either sign
  kUniform,  // U[0, 1): truncation is one-sided, all errors point to zero
};

// normal or uniform.
[[nodiscard]] std::string_view to_string(StudyInputs inputs);

struct StudyShape {
  std::int64_t m = 256;
  std::int64_t n = 256;
  std::int64_t k = 4096;
};

// Of D against the exact sums of the same codes.
struct AccumulationErrors {
  double max_over_rms = 0;   // the largest |error| over the root mean square of the exact results
  double max_relative = 0;   // the largest |error / exact|; exact zeros left out
  double mean_relative = 0;  // the mean of error / exact, signed
};

// One entry for each of `intervals` (N_C in elements of K; 0: nothing is promoted), all on the same operands, of the
// streams ("study a"), ("study b") of `seed`. Promotion is DeepGEMM's with scales of 1. Errors (bad input): an interval
// that is not a multiple of the rule's step, an empty shape.
[[nodiscard]] std::vector<AccumulationErrors> study_accumulation(const numerics::MmaRule& rule, StudyInputs inputs,
                                                                 const StudyShape& shape, std::uint64_t seed,
                                                                 const std::vector<std::int64_t>& intervals);

}  // namespace lastbit::check

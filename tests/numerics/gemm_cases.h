// GEMM problems of adversarial families, and the comparison of the vectorised path with the plain one.
#pragma once

#include <cstdint>

#include "check/input_families.h"
#include "numerics/gemm.h"

namespace lastbit::numerics::testing {

using check::InputFamily;

struct Kind {
  const char* unit;
  Format a;
  Format b;
};
// Every rule that is vectorised, and the types that it takes.
inline constexpr Kind kKinds[] = {
    {"hopper_wgmma", Format::kE4M3, Format::kE4M3},      {"hopper_wgmma", Format::kE4M3, Format::kE5M2},
    {"hopper_wgmma", Format::kE5M2, Format::kE5M2},      {"ada_mma", Format::kE5M2, Format::kE4M3},
    {"hopper_wgmma", Format::kBF16, Format::kBF16},      {"hopper_wgmma", Format::kF16, Format::kF16},
    {"hopper_wgmma", Format::kTF32, Format::kTF32},      {"ampere_mma", Format::kBF16, Format::kBF16},
    {"ampere_mma", Format::kTF32, Format::kTF32},        {"turing_mma", Format::kF16, Format::kF16},
    {"volta_mma", Format::kF16, Format::kF16},           {"blackwell_tcgen05", Format::kE4M3, Format::kE5M2},
    {"blackwell_tcgen05", Format::kE5M2, Format::kE5M2},
};

struct Case {
  MmaRule rule;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  InputFamily family = InputFamily::kAllCodes;
  Promotion promotion{};
  bool transposed_a = false;
  bool transposed_b = false;
  std::uint64_t seed = 0;
};

// The number of outputs, over all instruction sets that this machine has, in which the vectorised path differs from the
// plain one; the first is reported as a failure. Adds the number compared to `outputs`.
std::int64_t mismatches(const Case& test, std::int64_t& outputs);

}  // namespace lastbit::numerics::testing

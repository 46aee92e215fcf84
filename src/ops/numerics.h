// The arithmetic that an operator follows: one value, passed to every operator, named the same everywhere.
#pragma once

#include <string>
#include <string_view>

namespace lastbit::ops {

enum class Policy {
  kFp32,  // FP32 operands and accumulation in the fixed order of numerics/reduce.h
};

struct Numerics {
  Policy policy = Policy::kFp32;
};

// The policy of this name. Errors: a known policy that no operator follows in this version is unsupported; any other
// word is bad input, with a suggestion.
[[nodiscard]] Numerics numerics_by_name(const std::string& name);

}  // namespace lastbit::ops

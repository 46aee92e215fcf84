#include "ops/numerics.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/suggest.h"

namespace lastbit::ops {

Numerics numerics_by_name(const std::string& name) {
  static const std::vector<std::string> kNames = {"fp64", "fp32", "bf16", "fp8-h800", "fp8-h800-nopromote", "fp8-b200"};
  if (name == "fp32") return {Policy::kFp32};
  if (std::find(kNames.begin(), kNames.end(), name) != kNames.end())
    core::fail_unsupported("numerics '{}': the model's operators follow fp32 only in this version", name);
  core::fail_input("numerics '{}': found no such policy, expected fp32{}", name, core::suggestion(name, kNames));
}

}  // namespace lastbit::ops

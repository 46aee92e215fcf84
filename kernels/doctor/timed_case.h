// Which case of a contract is timed on a GPU, and how much work it is: sizes of DeepSeek-V3 as far as the reference,
// which checks that case too, takes seconds.
#pragma once

#include <optional>
#include <string>

#include "check/contract.h"
#include "kernels/doctor/roofline.h"

namespace lastbit::kernels {

struct TimedCase {
  tensor::Shape sizes;    // of the contract's axes
  double operations = 0;  // of its products on a tensor core
  Rate rate = Rate::kNone;
};
// Nothing for a contract that is not listed.
[[nodiscard]] std::optional<TimedCase> timed_case(const std::string& contract);

}  // namespace lastbit::kernels

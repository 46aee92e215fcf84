// Why results differ: what the mismatches look like, and which known departure of a kernel would give them.
#pragma once

#include <string>
#include <vector>

#include "check/contract.h"
#include "check/implementation.h"
#include "check/verdict.h"

namespace lastbit::check {

// A case whose results are wrong.
struct FailedCase {
  std::string name;
  tensor::NamedTensors inputs;
  ExpectedOutputs expected;
  tensor::NamedTensors candidate;
  std::vector<OutputVerdict> verdicts;
};

// What shows in the outputs alone: zeros, one bit, rows in other places, a factor, a region.
[[nodiscard]] std::vector<std::string> describe_mismatches(const Contract& contract, const FailedCase& failed);

// Tries the contract's alternatives on the failed cases and says which one explains them all, or most of them.
// `explained` (may be null) is set when one explains every output.
[[nodiscard]] std::vector<std::string> explain_by_alternatives(const Contract& contract,
                                                               const ContractSettings& settings,
                                                               const std::vector<FailedCase>& failed, bool* explained);

// Products: the first step along K after which results differ, found by running the kernel on prefixes of the operands
// of the first mismatch (all of them the rows of one call). Empty where the contract is no dense product or the kernel
// does not run or does not differ there.
[[nodiscard]] std::vector<std::string> find_first_step(const Contract& contract, const ContractSettings& settings,
                                                       const FailedCase& failed, const Implementation& implementation);

}  // namespace lastbit::check

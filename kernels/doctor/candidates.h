// Kernels with the contracts that a device's owner holds them against.
#pragma once

#include <string>
#include <vector>

#include "check/contract.h"
#include "kernels/contracts/kernel_registry.h"
#include "kernels/doctor/device_info.h"

namespace lastbit::kernels {

struct Candidate {
  ContractKernel kernel;
  Version version = Version::kTuned;
  const check::Contract* contract = nullptr;
  std::string version_name;         // "v0", "tuned", or the library's
  check::OpSettings settings = {};  // beside what holds without
  std::string note = {};            // why it is held to another contract than elsewhere
};

// The unit of lastbit units whose bits mma.sync of BF16 has: the executor's model, or the one that records of such GPUs
// confirm. Empty for a GPU of which there are none.
[[nodiscard]] std::string mma_sync_unit(const DeviceInfo& device);

// Both versions of every kernel of the registry. One that multiplies by mma.sync is held to mma_sync_unit(), or where
// that is not known to product_within_magnitudes(), which its note says.
[[nodiscard]] std::vector<Candidate> registry_candidates(const DeviceInfo& device);

// Contract fp8_gemm or bf16_gemm for a library that adds in an order of its own, so that no bits can be promised: each
// element within 2^-6 of the sum of its products' magnitudes. A tensor core that keeps 13 fraction bits of the largest
// of 33 terms is within 33 x 2^-13 = 2^-7.9 of that sum, the reference too, and BF16 rounds by 2^-9: 2^-6.7 together.
[[nodiscard]] const check::Contract& product_within_magnitudes(const std::string& contract);

}  // namespace lastbit::kernels

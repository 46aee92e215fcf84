// cuBLASLt's products as candidates for contracts.
#pragma once

#include <vector>

#include "kernels/doctor/candidates.h"

namespace lastbit::cuda {

// BF16 and FP8, each held to product_within_magnitudes(): the order of additions is cuBLASLt's own.
[[nodiscard]] std::vector<kernels::Candidate> library_products();

}  // namespace lastbit::cuda

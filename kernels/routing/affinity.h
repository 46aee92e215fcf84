// A token's affinity for an expert by DeepSeek-V3: sigmoid of the router's logit.
#pragma once

#include "kernels/simt/cuda.h"

namespace lastbit::kernels {

__device__ inline float affinity(float logit) { return __fdiv_rn(1, 1 + expf(-logit)); }

// Keeps a quotient by a sum of affinities harmless where all of them underflow (ops/affinity.h).
constexpr float kAffinityOffset = 1e-20F;

}  // namespace lastbit::kernels

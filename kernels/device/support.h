// What the device path can compute.
#pragma once

#include <cstdint>

#include "kernels/device/device_model.h"
#include "model/config.h"
#include "ops/numerics.h"

namespace lastbit::device {

// Errors (bad input): a model that is not DeepSeek-V3's architecture without biases of its projections, in one line
// that says which feature.
void require_supported(const model::ModelConfig& config);

// Errors (bad input): sequences of more tokens than attention, or its gradients, have shared memory for.
void require_length(std::int64_t tokens, bool gradients);

// What a model is used for under a policy. Errors (bad input): another policy than fp32, bf16 and, without gradients,
// fp8-h800.
[[nodiscard]] ModelUse model_use(const ops::Numerics& numerics, bool mtp, bool gradients, bool moments);

}  // namespace lastbit::device

// What the device path can compute.
#pragma once

#include "kernels/device/runtime.h"
#include "model/config.h"
#include "ops/numerics.h"

namespace lastbit::device {

// Errors (bad input): a model that is not DeepSeek-V3's architecture without biases of its projections, in one line
// that says which feature.
void require_supported(const model::ModelConfig& config);

// How activations are held under a policy. Errors (bad input): another policy than fp32 and bf16.
[[nodiscard]] Element activation_element(const ops::Numerics& numerics);

}  // namespace lastbit::device

// One training step on the device: passes forward and backward, the norm of the gradients, and the optimiser. The host
// waits once, between the two, for what it reports and for the norm that the clipping needs.
#pragma once

#include <optional>
#include <span>

#include "kernels/device/device_model.h"
#include "model/mtp.h"
#include "train/step_device.h"

namespace lastbit::device {

// Gradients of the sum over micro-batches of each one's mean loss, with `mtp` the modules' too; they replace what was
// in the parameters.
// `model` was made with gradients, and for the second function with moments.
// Errors (bad input): ids as check_token_ids; rows too short; numbers that are not finite, the weights being untouched.
[[nodiscard]] train::StepPasses run_passes(DeviceModel& model, std::span<const train::TokenRows> batches,
                                           const std::optional<model::MtpOptions>& mtp);

// AdamW on what run_passes() left, and the routers' biases from its loads. Launches alone: nothing is sent or waited
// for.
void update_weights(DeviceModel& model, const train::StepUpdate& update);

}  // namespace lastbit::device

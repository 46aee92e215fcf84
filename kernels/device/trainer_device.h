// A device for train::Trainer.
#pragma once

#include <memory>

#include "kernels/device/device_model.h"
#include "train/step_device.h"

namespace lastbit::device {

// Errors: as DeviceModel and model_use().
[[nodiscard]] std::unique_ptr<train::StepDevice> make_step_device(const train::DevicePlan& plan, Memory memory);

}  // namespace lastbit::device

// The model's device path (kernels/device) against the reference: a pass forward and a training step of a small
// DeepSeek-V3, with all the kernels that these are made of.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/doctor/doctor.h"
#include "tensor/tensor.h"

namespace lastbit::kernels {

// Under "fp32" or "bf16". The row's cases are arrays: the logits, every weight's gradient, and every weight's change by
// AdamW or, of a router's bias, by its load. Errors: those of the device.
[[nodiscard]] KernelRow examine_device_path(const std::string& numerics, std::uint64_t seed);

// Counts FP32 arrays of the same names into the row: passed are those of `expected` that are within `band`(name) by
// relative norm |found - expected| / |expected|. What is not a number is not within it.
void compare_arrays(const tensor::NamedTensors& found, const tensor::NamedTensors& expected,
                    const std::function<double(const std::string& name)>& band, KernelRow& row);

}  // namespace lastbit::kernels

// The GPU of this machine as a place for `lastbit doctor --gpu`.
#pragma once

#include <optional>
#include <string>

#include "kernels/doctor/doctor.h"

namespace lastbit::cuda {

// Why there is no GPU that the kernels of this build run on, of the first that CUDA shows; nothing: there is one.
[[nodiscard]] std::optional<std::string> why_no_gpu();

// The first GPU that CUDA shows (CUDA_VISIBLE_DEVICES chooses), with the registry's kernels and cuBLASLt's products as
// candidates. Errors: kUnsupported, with what to do, where there is none or no kernel is compiled for it.
[[nodiscard]] kernels::DoctorPlace gpu_place(const std::vector<kernels::KnownGpu>& known);

// The compute capability of that GPU, which decides the bits of its products: "sm_90". Errors: as gpu_place().
[[nodiscard]] std::string architecture();

}  // namespace lastbit::cuda

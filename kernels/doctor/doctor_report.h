// The report of `lastbit doctor --gpu`: for programs, for an issue, and for a terminal.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "kernels/doctor/doctor.h"

namespace lastbit::kernels {

// Schema 1. Times in seconds; a figure that is not known is null.
[[nodiscard]] nlohmann::json doctor_json(const DoctorReport& report);

// Device, kernels and tensor cores as tables, then every finding. It says first when the device is no GPU.
[[nodiscard]] std::string doctor_markdown(const DoctorReport& report);

// A line a kernel and a line a probe, then the verdict.
[[nodiscard]] std::string doctor_text(const DoctorReport& report);

}  // namespace lastbit::kernels

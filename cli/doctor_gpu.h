// lastbit doctor --gpu.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lastbit::cli {

struct DoctorGpuOptions {
  bool gpu = false;
  std::string on = "gpu";
  std::vector<std::string> contracts;
  std::uint64_t seed = 1;
  std::string report = "gpu_report";
  bool as_json = false;
};

// What this build can do with a GPU, in a line.
[[nodiscard]] const char* gpu_support();

// Exit codes: 0 all accepted, 1 something rejected. Errors: kUnsupported where there is no GPU, or no way to it in this
// build.
int run_doctor_gpu(const DoctorGpuOptions& options);

}  // namespace lastbit::cli

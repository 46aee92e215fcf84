// What runs the kernels.
#pragma once

#include <string>

namespace lastbit::kernels {

struct DeviceInfo {
  bool is_gpu = false;  // else the executor
  std::string name;     // "NVIDIA H100 80GB HBM3"
  int major = 0;        // compute capability
  int minor = 0;
  int sms = 0;
  double memory_bytes = 0;
  double bandwidth = 0;  // B/s by the memory's clock and the width of its bus; 0: not known
  std::string driver;    // "13.0": the newest CUDA that the driver serves
  std::string toolkit;   // "13.0": what the program was built with
};

// Whether a kernel that is compiled for `architectures` ("sm_80, sm_90a") runs on compute capability major.minor: code
// for sm_XY runs on the same major version from that minor on, code for sm_XYa on that one alone.
[[nodiscard]] bool runs_on(const std::string& architectures, int major, int minor);

}  // namespace lastbit::kernels

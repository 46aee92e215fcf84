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

}  // namespace lastbit::kernels

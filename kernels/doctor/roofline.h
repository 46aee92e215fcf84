// The least time that a call can take on a GPU: its bytes at the memory's bandwidth or its operations at the tensor
// cores' peak, whichever is longer.
#pragma once

#include <string>
#include <vector>

#include "kernels/doctor/device_info.h"

namespace lastbit::kernels {

// A GPU whose figures are known: of data/clusters.
struct KnownGpu {
  std::string name;      // "NVIDIA H800 SXM5"
  std::string source;    // the file
  int sms = 0;           // 0: not given
  double bandwidth = 0;  // B/s
  double bf16 = 0;       // FLOP/s, dense
  double fp8 = 0;        // 0: no such units
};

// Rates of a device, 0 where nobody says them, and who says them.
struct Peaks {
  double bandwidth = 0;
  double bf16 = 0;
  double fp8 = 0;
  std::string bandwidth_source;
  std::string operations_source;
};
// The bandwidth is the device's own where it has one. Operations are those of the known GPU of the same model ("H100",
// a word of both names) with as many SMs.
[[nodiscard]] Peaks peaks_of(const DeviceInfo& device, const std::vector<KnownGpu>& known);

enum class Rate { kNone, kBf16, kFp8 };
struct Work {
  double bytes = 0;       // every array read or written once
  double operations = 0;  // multiplications and additions of products on a tensor core
  Rate rate = Rate::kNone;
};

struct Bound {
  double seconds = 0;    // 0: nothing is known
  bool by_bytes = true;  // else by operations
};
[[nodiscard]] Bound bound_of(const Work& work, const Peaks& peaks);

}  // namespace lastbit::kernels

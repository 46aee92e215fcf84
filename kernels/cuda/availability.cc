// Of a build whose kernels are a GPU's.
#include "kernels/device/availability.h"

#include <cuda_runtime_api.h>

namespace lastbit::device {

std::optional<std::string> why_no_gpu() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) return cudaGetErrorString(error);
  if (count == 0) return "CUDA finds none";
  return std::nullopt;
}

bool on_executor() { return false; }

}  // namespace lastbit::device

// Of a build whose kernels are a GPU's.
#include "kernels/cuda/gpu_place.h"
#include "kernels/device/availability.h"

namespace lastbit::device {

std::optional<std::string> why_no_gpu() { return cuda::why_no_gpu(); }

bool on_executor() { return false; }

}  // namespace lastbit::device

// Of a build whose kernels run on the executor.
#include "kernels/device/availability.h"

namespace lastbit::device {

std::optional<std::string> why_no_gpu() { return "this build runs kernels on its executor alone"; }

bool on_executor() { return true; }

}  // namespace lastbit::device

#include "kernels/cuda/fail.h"

#include "core/error.h"

namespace lastbit::cuda {

void fail(const std::string& what, const std::string& why) { core::fail_unsupported("{}: {}", what, why); }

}  // namespace lastbit::cuda

// Errors of CUDA. For sources that nvcc compiles, too: it does not take fmt's headers, and so not core/error.h.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace lastbit::cuda {

// Throws core::Error, "what: why": of kind kUnsupported, which says that this machine or this toolkit cannot do it, or
// of kind kInternal, a fault of Lastbit's.
[[noreturn]] void fail(const std::string& what, const std::string& why);
[[noreturn]] void fail_as_bug(const std::string& what, const std::string& why);

// Throws with CUDA's words unless `status` is success: kUnsupported where it speaks of the machine (no GPU, no code for
// it, a driver that is too old, no room), kInternal where a kernel or the call that sent it is wrong.
void require_success(cudaError_t status, const std::string& what);

}  // namespace lastbit::cuda

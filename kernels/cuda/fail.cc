#include "kernels/cuda/fail.h"

#include "core/error.h"

namespace lastbit::cuda {
namespace {

bool speaks_of_machine(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation:
    case cudaErrorInitializationError:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorStubLibrary:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorJitCompilerNotFound:
    case cudaErrorJitCompilationDisabled:
      return true;
    default:
      return false;
  }
}

}  // namespace

void fail(const std::string& what, const std::string& why) { core::fail_unsupported("{}: {}", what, why); }

void fail_as_bug(const std::string& what, const std::string& why) {
  throw core::Error(core::ErrorKind::kInternal, what + ": " + why);
}

void require_success(cudaError_t status, const std::string& what) {
  if (status == cudaSuccess) return;
  if (speaks_of_machine(status)) fail(what, cudaGetErrorString(status));
  fail_as_bug(what, cudaGetErrorString(status));
}

}  // namespace lastbit::cuda

// CUDA's errors and the program's exit codes: what the machine lacks, and what Lastbit did wrong.
#include "kernels/cuda/fail.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace lastbit::cuda {
namespace {

int exit_code_of(cudaError_t status) {
  try {
    require_success(status, "kernel x");
  } catch (const core::Error& error) {
    EXPECT_EQ(std::string(error.what()), std::string("kernel x: ") + cudaGetErrorString(status));
    return core::exit_code(error.kind());
  }
  return core::kExitOk;
}

TEST(CudaErrors, SayWhoseFaultTheyAre) {
  EXPECT_EQ(exit_code_of(cudaSuccess), 0);
  for (const cudaError_t status : {cudaErrorNoDevice, cudaErrorInsufficientDriver, cudaErrorNoKernelImageForDevice,
                                   cudaErrorMemoryAllocation, cudaErrorUnsupportedPtxVersion})
    EXPECT_EQ(exit_code_of(status), 4) << cudaGetErrorString(status);
  for (const cudaError_t status : {cudaErrorIllegalAddress, cudaErrorLaunchFailure, cudaErrorMisalignedAddress,
                                   cudaErrorInvalidConfiguration, cudaErrorInvalidValue, cudaErrorAssert})
    EXPECT_EQ(exit_code_of(status), 70) << cudaGetErrorString(status);
}

}  // namespace
}  // namespace lastbit::cuda

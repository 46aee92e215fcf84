#include "kernels/cuda/gpu_place.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "core/error.h"
#include "kernels/cuda/library_products.h"

namespace lastbit::cuda {
namespace {

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

int attribute(cudaDeviceAttr which) {
  int value = 0;
  const cudaError_t error = cudaDeviceGetAttribute(&value, which, 0);
  if (error != cudaSuccess) core::fail_unsupported("the GPU: {}", cudaGetErrorString(error));
  return value;
}

[[noreturn]] void fail_without_gpu(const std::string& why) {
  core::fail_unsupported("doctor --gpu: {}; it takes a GPU of NVIDIA with a driver for CUDA {} (see nvidia-smi)", why,
                         version_text(CUDART_VERSION));
}

kernels::DeviceInfo read_device() {
  int driver = 0;
  (void)cudaDriverGetVersion(&driver);
  if (driver == 0) fail_without_gpu("this machine has no driver of NVIDIA");
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) fail_without_gpu(cudaGetErrorString(error));
  if (count == 0) fail_without_gpu("CUDA shows no GPU");
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess)
    core::fail_unsupported("doctor --gpu: {}", cudaGetErrorString(cudaGetLastError()));
  kernels::DeviceInfo device;
  device.is_gpu = true;
  device.name = properties.name;
  device.major = properties.major;
  device.minor = properties.minor;
  device.sms = properties.multiProcessorCount;
  device.memory_bytes = static_cast<double>(properties.totalGlobalMem);
  // kHz and bits; data come twice a clock.
  device.bandwidth = 2e3 * attribute(cudaDevAttrMemoryClockRate) * attribute(cudaDevAttrGlobalMemoryBusWidth) / 8;
  device.driver = version_text(driver);
  device.toolkit = version_text(CUDART_VERSION);
  return device;
}

}  // namespace

std::string architecture() {
  return fmt::format("sm_{}{}", attribute(cudaDevAttrComputeCapabilityMajor),
                     attribute(cudaDevAttrComputeCapabilityMinor));
}

kernels::DoctorPlace gpu_place(const std::vector<kernels::KnownGpu>& known) {
  kernels::DoctorPlace place;
  place.device = read_device();
  if (!kernels::runs_on(kernels::kPortable, place.device.major, place.device.minor))
    core::fail_unsupported("doctor --gpu: {} is sm_{}{}; the kernels are compiled for {}", place.device.name,
                           place.device.major, place.device.minor, kernels::kPortable);
  place.peaks = kernels::peaks_of(place.device, known);
  place.run_on = kernels::on_gpu;
  place.candidates = kernels::registry_candidates();
  for (kernels::Candidate& product : library_products()) place.candidates.push_back(std::move(product));
  return place;
}

}  // namespace lastbit::cuda

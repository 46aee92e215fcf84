#include "kernels/cuda/gpu_place.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "core/error.h"
#include "kernels/contracts/architectures.h"
#include "kernels/cuda/library_products.h"
#include "kernels/doctor/device_path.h"

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

// Whether the GPU does no more for this process: after a kernel's fault every call says so again.
bool is_lost() {
  (void)cudaGetLastError();  // an error that passes
  return cudaDeviceSynchronize() != cudaSuccess;
}

}  // namespace

std::string architecture() {
  return fmt::format("sm_{}{}", attribute(cudaDevAttrComputeCapabilityMajor),
                     attribute(cudaDevAttrComputeCapabilityMinor));
}

std::optional<std::string> why_no_gpu() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) return cudaGetErrorString(error);
  if (count == 0) return "CUDA finds none";
  cudaDeviceProp properties{};
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, 0); error != cudaSuccess)
    return cudaGetErrorString(error);
  return kernels::why_not_portable(properties.name, properties.major, properties.minor);
}

kernels::DoctorPlace gpu_place(const std::vector<kernels::KnownGpu>& known) {
  kernels::DoctorPlace place;
  place.device = read_device();
  if (const auto reason = kernels::why_not_portable(place.device.name, place.device.major, place.device.minor))
    core::fail_unsupported("doctor --gpu: {}", *reason);
  place.peaks = kernels::peaks_of(place.device, known);
  place.run_on = kernels::on_gpu;
  place.is_lost = is_lost;
  place.device_path = kernels::examine_device_path;
  place.candidates = kernels::registry_candidates(place.device);
  for (kernels::Candidate& product : library_products()) place.candidates.push_back(std::move(product));
  return place;
}

}  // namespace lastbit::cuda

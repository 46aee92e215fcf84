// The executor's interface on a GPU: memory and launches by CUDA's runtime.
#include <algorithm>
#include <string>

#include "kernels/cuda/fail.h"
#include "kernels/simt/cuda.h"
#include "kernels/simt/device_array.h"

namespace lastbit::simt {
namespace {

using cuda::require_success;

constexpr std::size_t kDefaultSharedBytes = 48 * 1024;  // more must be asked for

}  // namespace

void launch_checked(const LaunchShape& shape, const void* kernel, void** arguments) {
  if (shape.shared_bytes > kDefaultSharedBytes)
    require_success(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes)),
        std::string("kernel ") + shape.kernel);
  require_success(cudaLaunchKernel(kernel, shape.grid, shape.block, arguments, shape.shared_bytes, nullptr),
                  std::string("kernel ") + shape.kernel);
}

DeviceMemory::DeviceMemory(const std::string& name, std::size_t bytes, unsigned char fill) : bytes_(bytes) {
  require_success(cudaMalloc(&data_, std::max<std::size_t>(bytes, 1)), name);
  require_success(cudaMemset(data_, fill, bytes), name);
}

DeviceMemory::~DeviceMemory() { cudaFree(data_); }

void DeviceMemory::upload(std::span<const std::byte> from) {
  if (from.size() != bytes_) cuda::fail_as_bug("upload", "not of the whole array");
  require_success(cudaMemcpy(data_, from.data(), bytes_, cudaMemcpyHostToDevice), "upload");
}

void DeviceMemory::download(std::span<std::byte> to) const {
  if (to.size() != bytes_) cuda::fail_as_bug("download", "not of the whole array");
  require_success(cudaMemcpy(to.data(), data_, bytes_, cudaMemcpyDeviceToHost), "download, and kernels before it");
}

void copy_to_device(void* to, std::span<const std::byte> from) {
  require_success(cudaMemcpy(to, from.data(), from.size(), cudaMemcpyHostToDevice), "upload");
}

void copy_from_device(const void* from, std::span<std::byte> to) {
  require_success(cudaMemcpy(to.data(), from, to.size(), cudaMemcpyDeviceToHost), "download, and kernels before it");
}

}  // namespace lastbit::simt

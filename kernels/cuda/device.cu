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
constexpr std::size_t kUploadBlock = std::size_t{1} << 20;

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

QueuedUploads::~QueuedUploads() {
  for (const Block& block : blocks_) cudaFreeHost(block.data);
}

void QueuedUploads::send(void* to, std::span<const std::byte> from) {
  if (blocks_.empty() || blocks_.back().bytes - blocks_.back().used < from.size()) {
    void* data = nullptr;
    const std::size_t bytes = std::max(kUploadBlock, from.size());
    require_success(cudaMallocHost(&data, bytes), "page-locked memory");
    blocks_.push_back({static_cast<std::byte*>(data), bytes, 0});
  }
  Block& block = blocks_.back();
  std::byte* const staged = block.data + block.used;
  std::copy(from.begin(), from.end(), staged);
  block.used += from.size();
  require_success(cudaMemcpyAsync(to, staged, from.size(), cudaMemcpyHostToDevice, nullptr), "upload");
}

// One block is enough for what comes next: as large as all that there was.
void QueuedUploads::release() {
  std::size_t bytes = 0;
  for (const Block& block : blocks_) bytes += block.bytes;
  if (blocks_.size() > 1) {
    for (const Block& block : blocks_) cudaFreeHost(block.data);
    blocks_.clear();
    void* data = nullptr;
    require_success(cudaMallocHost(&data, bytes), "page-locked memory");
    blocks_.push_back({static_cast<std::byte*>(data), bytes, 0});
  }
  if (!blocks_.empty()) blocks_.front().used = 0;
}

void copy_to_device(void* to, std::span<const std::byte> from) {
  require_success(cudaMemcpy(to, from.data(), from.size(), cudaMemcpyHostToDevice), "upload");
}

void copy_from_device(const void* from, std::span<std::byte> to) {
  require_success(cudaMemcpy(to.data(), from, to.size(), cudaMemcpyDeviceToHost), "download, and kernels before it");
}

}  // namespace lastbit::simt

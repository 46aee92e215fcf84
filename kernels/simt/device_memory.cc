// Memory of the executor's device.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "kernels/simt/device_array.h"
#include "kernels/simt/memory_map.h"

namespace lastbit::simt {
namespace {

constexpr std::size_t kAlignment = 256;  // as cudaMalloc's
constexpr std::size_t kSpace = 1024;     // around each array, so that what leaves one does not land in another

}  // namespace

DeviceMemory::DeviceMemory(const std::string& name, std::size_t bytes, unsigned char fill) : bytes_(bytes) {
  const std::size_t rounded = (bytes + 2 * kSpace + kAlignment - 1) / kAlignment * kAlignment;
  allocation_ = std::aligned_alloc(kAlignment, rounded);
  if (allocation_ == nullptr) core::fail_unsupported("no room for {} bytes of {}", bytes, name);
  std::memset(allocation_, fill, rounded);
  data_ = static_cast<std::byte*>(allocation_) + kSpace;
  MemoryMap::instance().add_buffer(data_, bytes, name);
}

DeviceMemory::~DeviceMemory() {
  MemoryMap::instance().remove_buffer(data_);
  std::free(allocation_);
}

void DeviceMemory::upload(std::span<const std::byte> from) {
  core::check(from.size() == bytes_, "an upload of the whole array");
  if (from.empty()) return;
  std::memcpy(data_, from.data(), bytes_);
  MemoryMap::instance().mark_initialised(data_, bytes_);
}

void DeviceMemory::download(std::span<std::byte> to) const {
  core::check(to.size() == bytes_, "a download of the whole array");
  if (!to.empty()) std::memcpy(to.data(), data_, bytes_);
}

// The executor has run a kernel when its launch returns.
QueuedUploads::~QueuedUploads() = default;
void QueuedUploads::send(void* to, std::span<const std::byte> from) { copy_to_device(to, from); }
void QueuedUploads::release() {}

void copy_to_device(void* to, std::span<const std::byte> from) {
  if (from.empty()) return;
  std::memcpy(to, from.data(), from.size());
  MemoryMap::instance().mark_initialised(to, from.size());
}

void copy_from_device(const void* from, std::span<std::byte> to) {
  if (!to.empty()) std::memcpy(to.data(), from, to.size());
}

}  // namespace lastbit::simt

// Arrays in the memory of the device that kernels run on: a GPU's under nvcc's build, the executor's otherwise, which
// then knows their bounds and what of them was ever written.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace lastbit::simt {

// Bytes of the device. Errors: kUnsupported where the device has no room or is not there.
class DeviceMemory {
 public:
  // `name` is for findings. Every byte is `fill`, but counts as never written.
  DeviceMemory(const std::string& name, std::size_t bytes, unsigned char fill = 0xa5);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  void upload(std::span<const std::byte> from);  // all of it; waits for kernels before
  void download(std::span<std::byte> to) const;  // likewise

 private:
  std::size_t bytes_;
  void* data_ = nullptr;        // at a multiple of 256 bytes
  void* allocation_ = nullptr;  // of the host, with space around
};

// Copies to the device for which the host does not wait: in order with the kernels, from page-locked memory of the host
// in which the bytes stay until release().
class QueuedUploads {
 public:
  QueuedUploads() = default;
  ~QueuedUploads();
  QueuedUploads(const QueuedUploads&) = delete;
  QueuedUploads& operator=(const QueuedUploads&) = delete;

  // `to` a part of some DeviceMemory. Errors: as upload().
  void send(void* to, std::span<const std::byte> from);
  // To be called once the host has waited for all that was sent: its memory is used again.
  void release();

 private:
  struct Block {
    std::byte* data;
    std::size_t bytes;
    std::size_t used;
  };
  std::vector<Block> blocks_;
};

// Copies to and from a part of some DeviceMemory; both wait for kernels before. Errors: as upload() and download().
void copy_to_device(void* to, std::span<const std::byte> from);
void copy_from_device(const void* from, std::span<std::byte> to);

template <typename T>
class DeviceArray {
 public:
  DeviceArray(const std::string& name, std::size_t count) : memory_(name, count * sizeof(T)) {}
  DeviceArray(const std::string& name, std::span<const T> values) : DeviceArray(name, values.size()) {
    memory_.upload(std::as_bytes(values));
  }
  [[nodiscard]] T* data() const { return static_cast<T*>(memory_.data()); }
  [[nodiscard]] std::size_t size() const { return memory_.bytes() / sizeof(T); }
  [[nodiscard]] std::vector<T> download() const {
    std::vector<T> values(size());
    memory_.download(std::as_writable_bytes(std::span(values)));
    return values;
  }

 private:
  DeviceMemory memory_;
};

}  // namespace lastbit::simt

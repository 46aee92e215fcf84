// The memory of a model on a device, and what is sent there: kernels and copies, in order. The same on a GPU and on the
// executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/plain/values_view.h"
#include "kernels/simt/device_array.h"

namespace lastbit::device {

enum class Element : std::uint8_t { kF32, kBF16, kE4M3, kI32, kI64, kF64 };
[[nodiscard]] std::size_t bytes_of(Element element);

// Elements on the device, row-major; who allocated them owns them. `data` is null while memory is only counted.
struct Array {
  void* data = nullptr;
  Element element = Element::kF32;
  std::int64_t count = 0;

  [[nodiscard]] float* f32() const { return static_cast<float*>(data); }
  [[nodiscard]] double* f64() const { return static_cast<double*>(data); }
  [[nodiscard]] std::int64_t* i64() const { return static_cast<std::int64_t*>(data); }
  // BF16 codes.
  [[nodiscard]] std::uint16_t* codes() const { return static_cast<std::uint16_t*>(data); }
  template <typename T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(data);
  }
  // Of kF32 and kBF16 alone.
  [[nodiscard]] kernels::Values values() const { return {data, element == Element::kBF16}; }
  // Elements [begin, begin + size).
  [[nodiscard]] Array part(std::int64_t begin, std::int64_t size) const;
};

// visit(float{}) or visit(std::uint16_t{}), as kernels for both have their arrays.
template <typename Visit>
void with_type(Element element, const Visit& visit) {
  if (element == Element::kBF16)
    visit(std::uint16_t{});
  else
    visit(float{});
}

enum class Memory : std::uint8_t {
  kCounted,   // nothing is allocated and nothing runs: what is asked for is added up
  kOneBlock,  // one allocation of the device, arrays one after the other: a GPU
  kBlocks,    // an allocation for each array, so that the executor knows its bounds and what was written
};

// What an array takes of the memory: a multiple of 256 bytes.
[[nodiscard]] std::size_t room_of(const Array& array);

// Arrays are allocated like a stack: those of a Scope go when it ends.
class Runtime {
 public:
  // `bytes`: how much the arrays alive at a time may take, counted as peak_bytes() counts; 0 under kCounted.
  // Errors: kUnsupported where the device has no such room.
  Runtime(Memory memory, std::size_t bytes);

  // Takes room_of() the array, at a multiple of 256 bytes. Errors: beyond `bytes` is an internal error.
  [[nodiscard]] Array allocate(const std::string& name, Element element, std::int64_t count);
  [[nodiscard]] std::size_t used_bytes() const { return used_; }
  [[nodiscard]] std::size_t peak_bytes() const { return peak_; }

  // launch() sends one or more kernels; nothing while memory is counted.
  template <typename Launch>
  void run(const Launch& launch) {
    if (memory_ == Memory::kCounted) return;
    busy_ = true;
    launch();
  }
  // All of an array. Waits for what was launched since the last wait.
  void upload(const Array& to, std::span<const std::byte> from);
  // The same without a wait: in order with what is launched. The bytes are kept until the next download.
  void send(const Array& to, std::span<const std::byte> from);
  // Waits for everything that was sent. Zeros while memory is counted.
  void download(const Array& from, std::span<std::byte> to);
  // So far: downloads, and uploads behind a launch that nothing had waited for.
  [[nodiscard]] std::int64_t waits() const { return waits_; }

  class Scope {
   public:
    explicit Scope(Runtime& runtime) : runtime_(runtime), used_(runtime.used_), blocks_(runtime.blocks_.size()) {}
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Runtime& runtime_;
    std::size_t used_;
    std::size_t blocks_;
  };

 private:
  Memory memory_;
  std::size_t bytes_;
  std::size_t used_ = 0;
  std::size_t peak_ = 0;
  std::int64_t waits_ = 0;
  bool busy_ = false;                                        // something was launched since the last wait
  std::vector<std::unique_ptr<simt::DeviceMemory>> blocks_;  // kOneBlock: one
  simt::QueuedUploads queued_;
};

}  // namespace lastbit::device

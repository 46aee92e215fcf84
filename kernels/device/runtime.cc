#include "kernels/device/runtime.h"

#include <algorithm>

#include "core/error.h"

namespace lastbit::device {
namespace {

constexpr std::size_t kAlignment = 256;  // what a vector load of any kernel asks for, and cudaMalloc gives

}  // namespace

std::size_t bytes_of(Element element) {
  switch (element) {
    case Element::kE4M3:
      return 1;
    case Element::kBF16:
      return 2;
    case Element::kF32:
    case Element::kI32:
      return 4;
    case Element::kI64:
    case Element::kF64:
      break;
  }
  return 8;
}

Array Array::part(std::int64_t begin, std::int64_t size) const {
  core::check(begin >= 0 && size >= 0 && begin + size <= count, "a part lies inside its array");
  if (data == nullptr) return {nullptr, element, size};
  return {static_cast<std::byte*>(data) + static_cast<std::size_t>(begin) * bytes_of(element), element, size};
}

std::size_t room_of(const Array& array) {
  const std::size_t bytes = static_cast<std::size_t>(array.count) * bytes_of(array.element);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

Runtime::Runtime(Memory memory, std::size_t bytes) : memory_(memory), bytes_(bytes) {
  if (memory == Memory::kOneBlock) blocks_.push_back(std::make_unique<simt::DeviceMemory>("the model's memory", bytes));
}

Array Runtime::allocate(const std::string& name, Element element, std::int64_t count) {
  const std::size_t begin = used_;
  used_ += room_of({nullptr, element, count});
  peak_ = std::max(peak_, used_);
  if (memory_ == Memory::kCounted) return {nullptr, element, count};
  core::check(used_ <= bytes_, "a pass takes no more memory than was planned for it");
  if (memory_ == Memory::kOneBlock) return {static_cast<std::byte*>(blocks_.front()->data()) + begin, element, count};
  blocks_.push_back(std::make_unique<simt::DeviceMemory>(name, static_cast<std::size_t>(count) * bytes_of(element)));
  return {blocks_.back()->data(), element, count};
}

void Runtime::upload(const Array& to, std::span<const std::byte> from) {
  core::check(from.size() == static_cast<std::size_t>(to.count) * bytes_of(to.element), "an upload of the whole array");
  if (memory_ == Memory::kCounted) return;
  if (busy_) ++waits_;
  busy_ = false;
  simt::copy_to_device(to.data, from);
}

void Runtime::send(const Array& to, std::span<const std::byte> from) {
  core::check(from.size() == static_cast<std::size_t>(to.count) * bytes_of(to.element), "the whole array is sent");
  if (memory_ == Memory::kCounted) return;
  busy_ = true;
  queued_.send(to.data, from);
}

void Runtime::download(const Array& from, std::span<std::byte> to) {
  core::check(to.size() == static_cast<std::size_t>(from.count) * bytes_of(from.element),
              "a download of the whole array");
  if (memory_ == Memory::kCounted) {
    std::ranges::fill(to, std::byte{0});
    return;
  }
  ++waits_;
  busy_ = false;
  simt::copy_from_device(from.data, to);
  queued_.release();
}

Runtime::Scope::~Scope() {
  runtime_.used_ = used_;
  runtime_.blocks_.resize(blocks_);
}

}  // namespace lastbit::device

#include "kernels/simt/memory_map.h"

#include <algorithm>

#include "core/error.h"
#include "kernels/simt/limits.h"

// The linker's: the program's image, and where in it begin the variables without a value. On the host a __shared__
// variable is a static one; device code has no other variables of that kind.
extern "C" {
extern char __executable_start;
extern char __bss_start;
extern char _end;
}

namespace lastbit::simt {
namespace {

std::uintptr_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

alignas(1024) std::byte shared_arena[kMostSharedBytes] = {std::byte{1}};  // with a value: not among static_

}  // namespace

MemoryMap& MemoryMap::instance() {
  static MemoryMap map;
  return map;
}

MemoryMap::MemoryMap() : arena_(shared_arena) {
  static_.begin = address_of(&__bss_start) / 4 * 4;
  static_.bytes = address_of(&_end) - static_.begin;
  static_.shadow = std::make_unique<Shadow>(static_.bytes);
  static_.name = "static shared memory";
  static_.shared = true;
  dynamic_.begin = address_of(arena_);
  dynamic_.name = "dynamic shared memory";
  dynamic_.shared = true;
  dynamic_.shadow = std::make_unique<Shadow>(kMostSharedBytes);
  image_.begin = address_of(&__executable_start);
  image_.bytes = static_.begin - image_.begin;
  image_.name = "the program";
}

void MemoryMap::add_buffer(const void* begin, std::size_t bytes, const std::string& name) {
  ++changes_;
  auto range = std::make_unique<Range>();
  range->begin = address_of(begin);
  range->bytes = bytes;
  range->name = name;
  range->shadow = std::make_unique<Shadow>(bytes);
  const auto at = std::ranges::lower_bound(buffers_, range->begin, {}, [](const auto& other) { return other->begin; });
  buffers_.insert(at, std::move(range));
}

void MemoryMap::remove_buffer(const void* begin) {
  ++changes_;
  recent_.fill(&nothing_);
  std::erase_if(buffers_, [&](const auto& range) { return range->begin == address_of(begin); });
}

void MemoryMap::mark_initialised(const void* begin, std::size_t bytes) {
  ++changes_;
  const Range* range = find_buffer(address_of(begin), bytes);
  core::check(range != nullptr, "a buffer of the executor");
  range->shadow->each(address_of(begin) - range->begin, bytes,
                      [](Cell& cell, CellRest& /*rest*/, std::size_t) { cell.who = Cell::kInitialised; });
}

void MemoryMap::set_arguments(const void* begin, std::size_t bytes) {
  arguments_.begin = address_of(begin);
  arguments_.bytes = bytes;
}

MemoryMap::Range* MemoryMap::find_buffer(std::uintptr_t address, std::size_t size) {
  auto after = std::ranges::upper_bound(buffers_, address, {}, [](const auto& range) { return range->begin; });
  if (after == buffers_.begin()) return nullptr;
  Range* const range = (after - 1)->get();
  return range->holds(address, size) ? range : nullptr;
}

MemoryMap::Range* MemoryMap::find_elsewhere(std::uintptr_t address, std::size_t size) {
  Range* const range = find_buffer(address, size);
  if (range != nullptr) recent_[oldest_++ % recent_.size()] = range;
  return range;
}

bool MemoryMap::is_constant(std::uintptr_t address, std::size_t size) const {
  const bool in_arena = address - dynamic_.begin < kMostSharedBytes;
  return !in_arena && (image_.holds(address, size) || arguments_.holds(address, size));
}

MemoryPlace MemoryMap::place(std::uintptr_t address) const {
  const auto in = [&](const Range& range, MemorySpace space, std::size_t most) -> MemoryPlace {
    const auto offset = static_cast<std::int64_t>(address - range.begin);
    return {address - range.begin < most ? space : MemorySpace::kUnknown, range.name, offset, range.bytes};
  };
  if (address - dynamic_.begin < kMostSharedBytes) return in(dynamic_, MemorySpace::kDynamicShared, dynamic_.bytes);
  if (static_.holds(address, 1)) return in(static_, MemorySpace::kStaticShared, static_.bytes);
  if (image_.holds(address, 1)) return in(image_, MemorySpace::kConstant, image_.bytes);
  const Range* nearest = nullptr;
  std::uint64_t distance = 0;
  for (const auto& range : buffers_) {
    const std::uint64_t behind = address >= range->begin + range->bytes ? address - range->begin - range->bytes + 1 : 0;
    const std::uint64_t away = address < range->begin ? range->begin - address : behind;
    if (nearest == nullptr || away < distance) {
      nearest = range.get();
      distance = away;
    }
  }
  if (nearest == nullptr) return {};
  return in(*nearest, MemorySpace::kGlobal, nearest->bytes);
}

}  // namespace lastbit::simt

#include "allocations.h"

#include <malloc.h>

#include <atomic>
#include <cstddef>

// glibc's own, under the names that remain when a program brings malloc() and free().
extern "C" void* __libc_malloc(std::size_t size);  // NOLINT(bugprone-reserved-identifier)
extern "C" void __libc_free(void* pointer);        // NOLINT(bugprone-reserved-identifier)

namespace {

std::atomic<std::int64_t> in_use;
std::atomic<std::int64_t> highest;

}  // namespace

extern "C" void* malloc(std::size_t size) {
  void* pointer = __libc_malloc(size);
  if (pointer != nullptr) {
    const auto bytes = static_cast<std::int64_t>(malloc_usable_size(pointer));
    const std::int64_t now = in_use.fetch_add(bytes) + bytes;
    std::int64_t before = highest;
    while (before < now && !highest.compare_exchange_weak(before, now)) {
    }
  }
  return pointer;
}

extern "C" void free(void* pointer) {
  if (pointer != nullptr) in_use -= static_cast<std::int64_t>(malloc_usable_size(pointer));
  __libc_free(pointer);
}

namespace lastbit::bench {

PeakAllocation::PeakAllocation() : before_(in_use) { highest = before_; }

std::int64_t PeakAllocation::bytes() const { return highest - before_; }

}  // namespace lastbit::bench

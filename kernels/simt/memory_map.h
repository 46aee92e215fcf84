// Which memory an address of a kernel lies in: shared, a buffer of the device, or the program's constants.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/simt/shadow.h"

namespace lastbit::simt {

enum class MemorySpace : std::uint8_t {
  kStaticShared,   // a __shared__ variable
  kDynamicShared,  // the block's arena
  kGlobal,
  kConstant,  // the program's image and the arguments of the launch: to be read only
  kUnknown,
};

struct MemoryPlace {
  MemorySpace space = MemorySpace::kUnknown;
  std::string name;         // of the buffer
  std::int64_t offset = 0;  // in bytes from its beginning, also for kUnknown, where it is the nearest buffer
  std::size_t bytes = 0;    // of the whole
};

class MemoryMap {
 public:
  struct Range {
    std::uintptr_t begin = 0;
    std::size_t bytes = 0;
    std::string name;
    std::unique_ptr<Shadow> shadow;
    bool shared = false;

    [[nodiscard]] bool holds(std::uintptr_t address, std::size_t size) const {
      const std::uintptr_t offset = address - begin;  // huge where the address is before
      return offset < bytes && size <= bytes - offset;
    }
  };

  static MemoryMap& instance();

  void add_buffer(const void* begin, std::size_t bytes, const std::string& name);
  void remove_buffer(const void* begin);
  void mark_initialised(const void* begin, std::size_t bytes);
  // How often the three functions above were called so far: what work of the host a test wants to see none of.
  [[nodiscard]] std::int64_t changes() const { return changes_; }

  // The range that a kernel may touch which has [address, address + size), null if there is none. Short, because it
  // runs at every access.
  [[nodiscard]] Range* find(std::uintptr_t address, std::size_t size) {
    if (static_.holds(address, size)) return &static_;
    if (dynamic_.holds(address, size)) return &dynamic_;
    for (Range* const recent : recent_)
      if (recent->holds(address, size)) return recent;
    return find_elsewhere(address, size);
  }
  // Whether a kernel may read, though not write, what is there.
  [[nodiscard]] bool is_constant(std::uintptr_t address, std::size_t size) const;
  [[nodiscard]] MemoryPlace place(std::uintptr_t address) const;

  // The block's dynamic shared memory: `bytes` of the arena, which begins at a multiple of 1024 bytes.
  void set_dynamic_bytes(std::size_t bytes) { dynamic_.bytes = bytes; }
  [[nodiscard]] std::byte* dynamic() const { return arena_; }
  void set_arguments(const void* begin, std::size_t bytes);

 private:
  MemoryMap();

  [[nodiscard]] Range* find_elsewhere(std::uintptr_t address, std::size_t size);
  [[nodiscard]] Range* find_buffer(std::uintptr_t address, std::size_t size);

  std::vector<std::unique_ptr<Range>> buffers_;  // by address
  Range nothing_;
  std::int64_t changes_ = 0;
  std::size_t oldest_ = 0;                                                    // of recent_
  std::array<Range*, 4> recent_{&nothing_, &nothing_, &nothing_, &nothing_};  // buffers of the last accesses
  Range static_;
  Range dynamic_;
  Range arguments_;
  Range image_;
  std::byte* arena_;
};

}  // namespace lastbit::simt

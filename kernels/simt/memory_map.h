// Which memory an address of a kernel lies in: shared, a buffer of the device, or the program's constants.
#pragma once

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

// Zeroed cells for a range of addresses, pages of which cost nothing until they are touched.
class CellArray {
 public:
  explicit CellArray(std::size_t count);
  [[nodiscard]] Cell* at(std::size_t index) const { return cells_.get() + index; }

 private:
  struct Free {
    void operator()(Cell* cells) const;
  };
  std::unique_ptr<Cell[], Free> cells_;
};

class MemoryMap {
 public:
  struct Range {
    std::uintptr_t begin = 0;
    std::size_t bytes = 0;
    std::string name;
    std::unique_ptr<CellArray> cells;

    [[nodiscard]] bool holds(std::uintptr_t address, std::size_t size) const {
      return address >= begin && address - begin <= bytes && size <= bytes - (address - begin);
    }
  };

  static MemoryMap& instance();

  void add_buffer(const void* begin, std::size_t bytes, const std::string& name);
  void remove_buffer(const void* begin);
  void mark_initialised(const void* begin, std::size_t bytes);

  // The cells of [address, address + size); null where they are of no one range that a kernel may touch with `access`,
  // and for constants, which have none; `shared` says of which kind. Kept short: it runs at every access.
  struct Found {
    Cell* cells = nullptr;
    bool shared = false;
    bool known = false;
  };
  [[nodiscard]] Found find(std::uintptr_t address, std::size_t size, bool read);
  [[nodiscard]] MemoryPlace place(std::uintptr_t address) const;

  // The block's dynamic shared memory: `bytes` of the arena, which begins at a multiple of 1024 bytes.
  void set_dynamic_bytes(std::size_t bytes) { dynamic_.bytes = bytes; }
  [[nodiscard]] std::byte* dynamic() const { return arena_; }
  void set_arguments(const void* begin, std::size_t bytes);

 private:
  MemoryMap();

  Range* find_buffer(std::uintptr_t address, std::size_t size);

  std::vector<std::unique_ptr<Range>> buffers_;  // by address
  Range* last_ = nullptr;                        // where the last access was
  Range static_;
  Range dynamic_;
  Range arguments_;
  Range image_;
  std::byte* arena_;
};

}  // namespace lastbit::simt

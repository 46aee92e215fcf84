#include "kernels/arch/async_copy.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "kernels/arch/mbarrier_state.h"
#include "kernels/arch/tile_shape.h"

namespace lastbit::arch {
namespace {

using simt::Access;
using simt::Block;
using simt::FindingKind;
using simt::GroupKind;

constexpr std::size_t kCopyBytes = 16;

std::uintptr_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

// One box on its way.
struct BoxCopy {
  unsigned char* to;
  TensorMap map;
  std::int64_t row;
  std::int64_t col;

  [[nodiscard]] unsigned bytes() const { return map.shape.box_rows * map.shape.box_cols; }

  // Calls visit(destination, source or null, bytes) for every 16 bytes of the box.
  template <typename Visit>
  void each(const Visit& visit) const {
    const unsigned begin = shared_address(to);
    for (unsigned r = 0; r < map.shape.box_rows; ++r)
      for (unsigned c = 0; c < map.shape.box_cols; c += kCopyBytes) {
        const unsigned plain = begin + r * map.shape.box_cols + c;
        unsigned char* const place = simt::dynamic_shared() + (map.shape.swizzle ? swizzle_128(plain) : plain);
        const std::int64_t from_row = row + r;
        const std::int64_t from_col = col + c;
        const bool inside = from_row >= 0 && from_row < static_cast<std::int64_t>(map.shape.rows) && from_col >= 0 &&
                            from_col < static_cast<std::int64_t>(map.shape.cols);
        visit(place, inside ? map.base + from_row * static_cast<std::int64_t>(map.shape.cols) + from_col : nullptr);
      }
  }
};

}  // namespace

TensorMap make_tensor_map(const void* matrix, const TileShape& shape) {
  require_tile_shape(matrix, shape.rows, shape.cols, shape.box_rows, shape.box_cols, shape.swizzle);
  return {static_cast<const unsigned char*>(matrix), shape};
}

void cp_async_16(void* to, const void* from, int bytes) {
  Block& block = *Block::current();
  if (address_of(to) % kCopyBytes != 0 || (bytes > 0 && address_of(from) % kCopyBytes != 0) || bytes < 0 ||
      bytes > static_cast<int>(kCopyBytes))
    block.fail(FindingKind::kMisuse, "cp.async of 16 bytes between addresses that are no multiples of 16");
  const std::uintptr_t place = address_of(to);
  block.access(place, kCopyBytes, Access::kWrite);
  if (bytes > 0) block.access(address_of(from), static_cast<std::size_t>(bytes), Access::kRead);
  std::memset(to, 0, kCopyBytes);
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
  block.set_in_flight(place, kCopyBytes, true);
  block.groups(GroupKind::kCopy).add([&block, place] {
    block.set_in_flight(place, kCopyBytes, false);
    block.access(place, kCopyBytes, Access::kWrite);
  });
}

void cp_async_commit() { Block::current()->groups(GroupKind::kCopy).commit(); }
void cp_async_wait(int left) { Block::current()->groups(GroupKind::kCopy).wait(static_cast<std::size_t>(left)); }

void tma_load(void* to, const TensorMap* map, std::uint64_t* barrier, int row, int col) {
  Block& block = *Block::current();
  const BoxCopy copy{static_cast<unsigned char*>(to), *map, row, col};
  if (shared_address(to) % (map->shape.swizzle ? 1024 : 128) != 0)
    block.fail(FindingKind::kMisuse,
               "a TMA load to shared memory that is not at a multiple of 128 bytes (1024 with a "
               "swizzle)");
  simt::Mbarrier& state = mbarrier_state(barrier);
  copy.each([&](unsigned char* place, const unsigned char* from) {
    block.access_async(address_of(place), kCopyBytes, Access::kWrite);
    if (from != nullptr) block.access(address_of(from), kCopyBytes, Access::kRead);
    block.set_in_flight(address_of(place), kCopyBytes, true);
  });
  simt::Clocks::Knowledge mine;
  block.clocks().release(block.thread(), mine);
  block.async().submit(
      [&block, &state, copy, mine] {
        copy.each([&](unsigned char* place, const unsigned char* from) {
          block.set_in_flight(address_of(place), kCopyBytes, false);
          std::memset(place, 0, kCopyBytes);
          if (from != nullptr) std::memcpy(place, from, kCopyBytes);
        });
        state.bytes -= copy.bytes();
        state.learn(mine);
        state.complete_if_done();
      },
      block.order() == simt::Order::kReverse);
}

}  // namespace lastbit::arch

// Kernels for the executor are compiled with -fsanitize=thread,bounds, but not linked to the sanitizers' libraries: the
// calls that the compiler puts before every load and store come here. The names are those of ThreadSanitizer's and
// UndefinedBehaviorSanitizer's interfaces, as GCC and Clang call them.
#include <cstddef>
#include <cstdint>

#include "kernels/simt/atomics.h"
#include "kernels/simt/block.h"

namespace lastbit::simt {
namespace {

[[gnu::always_inline]] inline void on_access(const void* pointer, std::size_t bytes, Access access) {
  Block* const block = Block::current();
  if (block == nullptr) return;
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  if (address - reinterpret_cast<std::uintptr_t>(block->stack()) < Stacks::kBytes) return;  // the thread's own
  block->access(address, bytes, access);
}

}  // namespace

void note_atomic(const void* address, std::size_t bytes) { on_access(address, bytes, Access::kAtomic); }

}  // namespace lastbit::simt

using lastbit::simt::Access;
using lastbit::simt::on_access;

extern "C" {
void __tsan_init() {}
void __tsan_read1(void* p) { on_access(p, 1, Access::kRead); }
void __tsan_read2(void* p) { on_access(p, 2, Access::kRead); }
void __tsan_read4(void* p) { on_access(p, 4, Access::kRead); }
void __tsan_read8(void* p) { on_access(p, 8, Access::kRead); }
void __tsan_read16(void* p) { on_access(p, 16, Access::kRead); }
void __tsan_write1(void* p) { on_access(p, 1, Access::kWrite); }
void __tsan_write2(void* p) { on_access(p, 2, Access::kWrite); }
void __tsan_write4(void* p) { on_access(p, 4, Access::kWrite); }
void __tsan_write8(void* p) { on_access(p, 8, Access::kWrite); }
void __tsan_write16(void* p) { on_access(p, 16, Access::kWrite); }
void __tsan_unaligned_read2(void* p) { on_access(p, 2, Access::kRead); }
void __tsan_unaligned_read4(void* p) { on_access(p, 4, Access::kRead); }
void __tsan_unaligned_read8(void* p) { on_access(p, 8, Access::kRead); }
void __tsan_unaligned_read16(void* p) { on_access(p, 16, Access::kRead); }
void __tsan_unaligned_write2(void* p) { on_access(p, 2, Access::kWrite); }
void __tsan_unaligned_write4(void* p) { on_access(p, 4, Access::kWrite); }
void __tsan_unaligned_write8(void* p) { on_access(p, 8, Access::kWrite); }
void __tsan_unaligned_write16(void* p) { on_access(p, 16, Access::kWrite); }
void __tsan_read_range(void* p, unsigned long bytes) { on_access(p, bytes, Access::kRead); }
void __tsan_write_range(void* p, unsigned long bytes) { on_access(p, bytes, Access::kWrite); }
void __tsan_func_entry(void* /*caller*/) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void* /*pointer*/, void* /*value*/) {}

// An index beyond an array whose size the compiler knows, such as a __shared__ one. The layout is UBSan's.
struct OutOfBoundsData {
  struct {
    const char* file;
    std::uint32_t line;
    std::uint32_t column;
  } place;
};
void __ubsan_handle_out_of_bounds(OutOfBoundsData* data, std::uintptr_t index) {
  lastbit::simt::Block* const block = lastbit::simt::Block::current();
  if (block == nullptr) return;
  const lastbit::simt::Site site{data->place.file, static_cast<int>(data->place.line)};
  block->fail(lastbit::simt::FindingKind::kOutOfBounds, [&] {
    return fmt::format("index {} of an array at {}, which has fewer elements", static_cast<std::int64_t>(index),
                       site.text());
  });
}
}

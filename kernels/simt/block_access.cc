// A block's loads and stores, held against what is known of the bytes that they touch.
#include "kernels/simt/block.h"

namespace lastbit::simt {
namespace {

constexpr std::uint64_t kMostSteps = std::uint64_t{1} << 33;  // accesses of a thread that never waits: some minutes

const char* word_for(Access access) {
  if (access == Access::kRead) return "reads";
  return access == Access::kWrite ? "writes" : "updates";
}

}  // namespace

Toucher Block::toucher() const {
  return {place_.serial, place_.first_serial, running_, clocks_.now(running_), clocks_};
}

void Block::access(std::uintptr_t address, std::size_t bytes, Access access) {
  if (++steps_ > kMostSteps) fail(FindingKind::kEndless, "billions of accesses without waiting for another thread");
  const MemoryMap::Found found = MemoryMap::instance().find(address, bytes, access == Access::kRead);
  if (found.cells == nullptr) {
    if (found.known) return;
    fail(FindingKind::kOutOfBounds, fmt::format("{} {}", word_for(access), where(address, bytes)));
  }
  const Toucher by = toucher();
  int other = -1;
  for (std::size_t i = 0; i < bytes; ++i) {
    const Conflict conflict = touch(found.cells[i], access, by, found.shared, other);
    if (conflict != Conflict::kNone) fail_access(conflict, address, bytes, access, other);
  }
}

void Block::access_async(std::uintptr_t address, std::size_t bytes, Access access) {
  this->access(address, bytes, access);
  const MemoryMap::Found found = MemoryMap::instance().find(address, bytes, access == Access::kRead);
  if (found.cells == nullptr || !found.shared) return;
  for (std::size_t i = 0; i < bytes; ++i) {
    Cell& cell = found.cells[i];
    if (access == Access::kWrite) {
      cell.flags = static_cast<std::uint16_t>(cell.flags | Cell::kWriteAsync);
      continue;
    }
    if ((cell.flags & Cell::kWriteAsync) != 0) continue;
    if (cell.write_clock > threads_[cell.writer].fence_clock)
      fail(FindingKind::kFence,
           fmt::format("the asynchronous proxy reads {}, which thread {} wrote without fence.proxy.async after",
                       where(address + i, 1), thread_text(cell.writer)));
  }
}

void Block::set_in_flight(std::uintptr_t address, std::size_t bytes, bool flies) {
  const MemoryMap::Found found = MemoryMap::instance().find(address, bytes, false);
  for (std::size_t i = 0; found.cells != nullptr && i < bytes; ++i) {
    const unsigned flags = found.cells[i].flags;
    found.cells[i].flags = static_cast<std::uint16_t>(flies ? flags | Cell::kInFlight : flags & ~Cell::kInFlight);
  }
}

void Block::add_pending_reads(std::uintptr_t address, std::size_t bytes, int change) {
  const MemoryMap::Found found = MemoryMap::instance().find(address, bytes, true);
  for (std::size_t i = 0; found.cells != nullptr && i < bytes; ++i)
    found.cells[i].pending_reads = static_cast<std::uint16_t>(found.cells[i].pending_reads + change);
}

std::string Block::where(std::uintptr_t address, std::size_t bytes) const {
  const MemoryPlace place = MemoryMap::instance().place(address);
  const std::string size = bytes == 1 ? "1 byte" : fmt::format("{} bytes", bytes);
  if (place.name.empty()) return fmt::format("{} at {:#x}, where nothing of the launch lies", size, address);
  if (place.space == MemorySpace::kStaticShared) return fmt::format("{} of {}", size, place.name);
  return fmt::format("{} at offset {} of {} ({} bytes)", size, place.offset, place.name, place.bytes);
}

void Block::fail_access(Conflict conflict, std::uintptr_t address, std::size_t bytes, Access access, int other) {
  const std::string what = fmt::format("{} {}", word_for(access), where(address, bytes));
  const std::string barrier = fmt::format("last barrier of this thread: {}", self().last_barrier.text());
  switch (conflict) {
    case Conflict::kUninitialised:
      fail(FindingKind::kUninitialised, fmt::format("{}, which nobody wrote; {}", what, barrier));
    case Conflict::kAfterWrite:
      fail(FindingKind::kRace,
           fmt::format("{}, which thread {} wrote without a barrier between; {}", what, thread_text(other), barrier));
    case Conflict::kAfterRead:
      fail(FindingKind::kRace,
           fmt::format("{}, which thread {} read without a barrier between; {}", what, thread_text(other), barrier));
    case Conflict::kOtherBlockWrote:
      fail(FindingKind::kRace, fmt::format("{}, which another block of the launch wrote", what));
    case Conflict::kOtherBlockRead:
      fail(FindingKind::kRace, fmt::format("{}, which another block of the launch read", what));
    case Conflict::kInFlight:
      fail(FindingKind::kInFlight,
           fmt::format("{} while an asynchronous copy to there is under way; {}", what, barrier));
    case Conflict::kPendingRead:
      fail(FindingKind::kInFlight, fmt::format("{} while an asynchronous operation still reads it; {}", what, barrier));
    case Conflict::kNone:
      break;
  }
  fail(FindingKind::kMisuse, what);
}

}  // namespace lastbit::simt

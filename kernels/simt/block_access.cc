// A block's loads and stores, held against what is known of the bytes that they touch.
#include "kernels/simt/block.h"

namespace lastbit::simt {
namespace {

const char* word_for(Access access) {
  if (access == Access::kRead) return "reads";
  return access == Access::kWrite ? "writes" : "updates";
}

}  // namespace

void Block::check_access(const MemoryMap::Found& found, std::uintptr_t address, std::size_t bytes, Access access) {
  if (steps_ > kMostSteps) fail(FindingKind::kEndless, "billions of accesses without waiting for another thread");
  if (found.range == nullptr) {
    if (found.constant) return;
    fail(FindingKind::kOutOfBounds, fmt::format("{} {}", word_for(access), where(address, bytes)));
  }
  int other = -1;
  const Conflict conflict =
      found.range->shadow->touch(address - found.range->begin, bytes, access, toucher(found.shared), other);
  if (conflict != Conflict::kNone) fail_access(conflict, address, bytes, access, other);
}

void Block::access_async(std::uintptr_t address, std::size_t bytes, Access access) {
  this->access(address, bytes, access);
  each_shared_cell(address, bytes, [&](Cell& cell, std::size_t offset) {
    if (access == Access::kWrite) cell.flags = static_cast<std::uint16_t>(cell.flags | Cell::kWriteAsync);
    if ((cell.flags & Cell::kWriteAsync) != 0) return;
    if (cell.write_clock > threads_[cell.writer].fence_clock)
      fail(FindingKind::kFence,
           fmt::format("the asynchronous proxy reads {}, which thread {} wrote without fence.proxy.async after",
                       where(reinterpret_cast<std::uintptr_t>(memory_.dynamic()) + offset, 1),
                       thread_text(cell.writer)));
  });
}

void Block::each_shared_cell(std::uintptr_t address, std::size_t bytes,
                             const std::function<void(Cell& cell, std::size_t offset)>& visit) {
  const MemoryMap::Found found = memory_.find(address, bytes, false);
  if (found.range != nullptr && found.shared) found.range->shadow->each(address - found.range->begin, bytes, visit);
}

void Block::set_in_flight(std::uintptr_t address, std::size_t bytes, bool flies) {
  each_shared_cell(address, bytes, [&](Cell& cell, std::size_t) {
    const unsigned flags = cell.flags;
    cell.flags = static_cast<std::uint16_t>(flies ? flags | Cell::kInFlight : flags & ~Cell::kInFlight);
  });
}

void Block::add_pending_reads(std::uintptr_t address, std::size_t bytes, int change) {
  each_shared_cell(address, bytes, [&](Cell& cell, std::size_t) {
    cell.pending_reads = static_cast<std::uint16_t>(cell.pending_reads + change);
  });
}

std::string Block::where(std::uintptr_t address, std::size_t bytes) const {
  const MemoryPlace place = memory_.place(address);
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

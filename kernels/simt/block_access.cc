// A block's loads and stores, held against what is known of the bytes that they touch.
#include "kernels/simt/block.h"

namespace lastbit::simt {
namespace {

const char* word_for(Access access) {
  if (access == Access::kRead) return "reads";
  return access == Access::kWrite ? "writes" : "updates";
}

FindingKind kind_of(Conflict conflict) {
  switch (conflict) {
    case Conflict::kUninitialised:
      return FindingKind::kUninitialised;
    case Conflict::kInFlight:
    case Conflict::kPendingRead:
      return FindingKind::kInFlight;
    default:
      return FindingKind::kRace;
  }
}

}  // namespace

void Block::check_access(std::uintptr_t address, std::size_t bytes, Access access) {
  if (steps_ > kMostSteps) fail(FindingKind::kEndless, "billions of accesses without waiting for another thread");
  const MemoryMap::Range* const range = memory_.find(address, bytes);
  if (range == nullptr) {
    if (access == Access::kRead && memory_.is_constant(address, bytes)) return;
    fail(FindingKind::kOutOfBounds, [&] { return fmt::format("{} {}", word_for(access), where(address, bytes)); });
  }
  int other = -1;
  const Conflict conflict = range->shadow->touch(address - range->begin, bytes, access, toucher(range->shared), other);
  if (conflict != Conflict::kNone)
    fail(kind_of(conflict), [&] { return conflict_text(conflict, address, bytes, access, other); });
}

template <typename Visit>
void Block::each_shared_cell(std::uintptr_t address, std::size_t bytes, const Visit& visit) {
  const MemoryMap::Range* const range = memory_.find(address, bytes);
  if (range != nullptr && range->shared) range->shadow->each(address - range->begin, bytes, visit);
}

void Block::access_async(std::uintptr_t address, std::size_t bytes, Access access) {
  this->access(address, bytes, access);
  each_shared_cell(address, bytes, [&](Cell& cell, CellRest& /*rest*/, std::size_t offset) {
    if (access == Access::kWrite) cell.set(Cell::kWriteAsync);
    if ((cell.who & Cell::kWriteAsync) != 0) return;
    if (cell.write_clock > threads_[static_cast<std::size_t>(cell.writer())].fence_clock)
      fail(FindingKind::kFence, [&] {
        return fmt::format("the asynchronous proxy reads {}, which thread {} wrote without fence.proxy.async after",
                           where(reinterpret_cast<std::uintptr_t>(memory_.dynamic()) + offset, 1),
                           thread_text(cell.writer()));
      });
  });
}

void Block::set_in_flight(std::uintptr_t address, std::size_t bytes, bool flies) {
  each_shared_cell(address, bytes, [&](Cell& cell, CellRest& /*rest*/, std::size_t) {
    cell.clear(Cell::kInFlight);
    if (flies) cell.set(Cell::kInFlight);
  });
}

void Block::add_pending_reads(std::uintptr_t address, std::size_t bytes, int change) {
  each_shared_cell(address, bytes, [&](Cell& cell, CellRest& rest, std::size_t) {
    rest.pending_reads = static_cast<std::uint16_t>(static_cast<int>(rest.pending_reads) + change);
    cell.clear(Cell::kPendingRead);
    if (rest.pending_reads != 0) cell.set(Cell::kPendingRead);
  });
}

std::string Block::where(std::uintptr_t address, std::size_t bytes) const {
  const MemoryPlace place = memory_.place(address);
  const std::string size = bytes == 1 ? "1 byte" : fmt::format("{} bytes", bytes);
  if (place.name.empty()) return fmt::format("{} at {:#x}, where nothing of the launch lies", size, address);
  if (place.space == MemorySpace::kStaticShared) return fmt::format("{} of {}", size, place.name);
  return fmt::format("{} at offset {} of {} ({} bytes)", size, place.offset, place.name, place.bytes);
}

std::string Block::conflict_text(Conflict conflict, std::uintptr_t address, std::size_t bytes, Access access,
                                 int other) const {
  std::string what = fmt::format("{} {}", word_for(access), where(address, bytes));
  const std::string barrier =
      fmt::format("last barrier of this thread: {}", threads_[static_cast<std::size_t>(running_)].last_barrier.text());
  switch (conflict) {
    case Conflict::kUninitialised:
      return fmt::format("{}, which nobody wrote; {}", what, barrier);
    case Conflict::kAfterWrite:
      return fmt::format("{}, which thread {} wrote without a barrier between; {}", what, thread_text(other), barrier);
    case Conflict::kAfterRead:
      return fmt::format("{}, which thread {} read without a barrier between; {}", what, thread_text(other), barrier);
    case Conflict::kOtherBlockWrote:
      return fmt::format("{}, which another block of the launch wrote", what);
    case Conflict::kOtherBlockRead:
      return fmt::format("{}, which another block of the launch read", what);
    case Conflict::kInFlight:
      return fmt::format("{} while an asynchronous copy to there is under way; {}", what, barrier);
    case Conflict::kPendingRead:
      return fmt::format("{} while an asynchronous operation still reads it; {}", what, barrier);
    case Conflict::kNone:
      break;
  }
  return what;
}

}  // namespace lastbit::simt

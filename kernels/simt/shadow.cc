#include "kernels/simt/shadow.h"

#include <utility>

namespace lastbit::simt {
namespace {

// The cell's fields are of another block: keeps what matters of it. Shared memory begins anew with each block.
void begin_block(Cell& cell, const Toucher& by, bool shared) {
  unsigned kept = 0;
  if (!shared) {
    kept = cell.flags & Cell::kInitialised;
    if (cell.serial >= by.first_serial) {
      const unsigned flags = cell.flags;
      kept |= flags & (Cell::kOthersRead | Cell::kOthersWrote | Cell::kOthersAtomic);
      if ((flags & Cell::kRead) != 0) kept |= Cell::kOthersRead;
      if ((flags & Cell::kWritten) != 0)
        kept |= (flags & Cell::kWriteAtomic) != 0 ? Cell::kOthersAtomic : Cell::kOthersWrote;
    }
  }
  cell.flags = static_cast<std::uint16_t>(kept);
  cell.pending_reads = 0;
  cell.serial = by.serial;
}

void set(Cell& cell, unsigned flags) { cell.flags = static_cast<std::uint16_t>(cell.flags | flags); }
void clear(Cell& cell, unsigned flags) { cell.flags = static_cast<std::uint16_t>(cell.flags & ~flags); }

Conflict check_read(Cell& cell, const Toucher& by, int& other) {
  if ((cell.flags & Cell::kInFlight) != 0) return Conflict::kInFlight;
  if ((cell.flags & Cell::kInitialised) == 0) return Conflict::kUninitialised;
  if ((cell.flags & (Cell::kOthersWrote | Cell::kOthersAtomic)) != 0) return Conflict::kOtherBlockWrote;
  other = cell.writer;
  if ((cell.flags & Cell::kWritten) != 0 && !by.clocks.before(cell.writer, cell.write_clock, by.thread))
    return Conflict::kAfterWrite;
  if ((cell.flags & Cell::kRead) != 0 && cell.reader[0] != by.thread) {
    cell.reader[1] = cell.reader[0];
    cell.read_clock[1] = cell.read_clock[0];
    set(cell, Cell::kReadTwice);
  }
  cell.reader[0] = static_cast<std::uint16_t>(by.thread);
  cell.read_clock[0] = by.clock;
  set(cell, Cell::kRead);
  return Conflict::kNone;
}

Conflict check_write(Cell& cell, bool atomic, const Toucher& by, int& other) {
  if ((cell.flags & Cell::kInFlight) != 0) return Conflict::kInFlight;
  if (cell.pending_reads != 0) return Conflict::kPendingRead;
  if (atomic && (cell.flags & Cell::kInitialised) == 0) return Conflict::kUninitialised;
  if ((cell.flags & Cell::kOthersWrote) != 0 || (!atomic && (cell.flags & Cell::kOthersAtomic) != 0))
    return Conflict::kOtherBlockWrote;
  if ((cell.flags & Cell::kOthersRead) != 0) return Conflict::kOtherBlockRead;
  const bool both_atomic = atomic && (cell.flags & Cell::kWriteAtomic) != 0;
  other = cell.writer;
  if ((cell.flags & Cell::kWritten) != 0 && !both_atomic && !by.clocks.before(cell.writer, cell.write_clock, by.thread))
    return Conflict::kAfterWrite;
  for (const int i : {0, 1}) {
    if ((cell.flags & (i == 0 ? Cell::kRead : Cell::kReadTwice)) == 0) break;
    other = cell.reader[i];
    if (!by.clocks.before(other, cell.read_clock[i], by.thread)) return Conflict::kAfterRead;
  }
  cell.writer = static_cast<std::uint16_t>(by.thread);
  cell.write_clock = by.clock;
  clear(cell, Cell::kRead | Cell::kReadTwice | Cell::kWriteAtomic | Cell::kWriteAsync);
  set(cell, Cell::kWritten | Cell::kInitialised);
  if (atomic) set(cell, Cell::kWriteAtomic);
  return Conflict::kNone;
}

}  // namespace

Conflict touch(Cell& cell, Access access, const Toucher& by, bool shared, int& other) {
  if (cell.serial != by.serial) begin_block(cell, by, shared);
  if (access == Access::kRead) return check_read(cell, by, other);
  return check_write(cell, access == Access::kAtomic, by, other);
}

}  // namespace lastbit::simt

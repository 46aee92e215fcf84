#include "kernels/simt/shadow.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace lastbit::simt {
namespace {

// The cell's fields are of another block: keeps what matters of it. Shared memory begins anew with each block.
void begin_block(Cell& cell, const Toucher& by) {
  unsigned kept = 0;
  if (!by.shared) {
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

Conflict touch_cell(Cell& cell, Access access, const Toucher& by, int& other) {
  if (cell.serial != by.serial) begin_block(cell, by);
  if (access == Access::kRead) return check_read(cell, by, other);
  return check_write(cell, access == Access::kAtomic, by, other);
}

}  // namespace

void Shadow::Free::operator()(Cell* cells) const { std::free(cells); }

Shadow::Cells Shadow::make_cells(std::size_t count) {
  auto* const cells = static_cast<Cell*>(std::calloc(count, sizeof(Cell)));
  if (cells == nullptr) throw std::bad_alloc();
  return Cells(cells);
}

Shadow::Shadow(std::size_t bytes) : words_(make_cells(bytes / 4 + 1)), bytes_(make_cells(bytes / 4 * 4 + 4)) {}

void Shadow::split(std::size_t word) {
  Cell& cell = words_[word];
  if ((cell.flags & Cell::kSplit) != 0) return;
  for (std::size_t i = 0; i < 4; ++i) bytes_[4 * word + i] = cell;
  set(cell, Cell::kSplit);
}

Conflict Shadow::touch_part(std::size_t offset, std::size_t bytes, Access access, const Toucher& by, int& other) {
  split(offset / 4);
  for (std::size_t i = offset; i < offset + bytes; ++i)
    if (const Conflict conflict = touch_cell(bytes_[i], access, by, other); conflict != Conflict::kNone)
      return conflict;
  if (bytes == 4 && access == Access::kWrite) words_[offset / 4] = bytes_[offset];  // one history from here on
  return Conflict::kNone;
}

Conflict Shadow::touch(std::size_t offset, std::size_t bytes, Access access, const Toucher& by, int& other) {
  const std::size_t end = offset + bytes;
  for (std::size_t at = offset; at < end;) {
    const std::size_t part = std::min(end - at, 4 - at % 4);
    Cell& word = words_[at / 4];
    if (by.shared && word.serial != by.serial) begin_block(word, by);  // nothing of another block's is left
    const bool whole = part == 4 && (word.flags & Cell::kSplit) == 0;
    const Conflict conflict = whole ? touch_cell(word, access, by, other) : touch_part(at, part, access, by, other);
    if (conflict != Conflict::kNone) return conflict;
    at += part;
  }
  return Conflict::kNone;
}

}  // namespace lastbit::simt

#include "kernels/simt/shadow.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace lastbit::simt {
namespace {

// The cell's fields are of another block: keeps what matters of it. Shared memory begins anew with each block.
void begin_block(Cell& cell, CellRest& rest, const Toucher& by) {
  std::uint32_t kept = 0;
  if (!by.shared) {
    const std::uint32_t flags = cell.flags();
    kept = flags & Cell::kInitialised;
    if (cell.serial >= by.first_serial) {
      kept |= flags & (Cell::kOthersRead | Cell::kOthersWrote | Cell::kOthersAtomic);
      if ((flags & Cell::kRead) != 0) kept |= Cell::kOthersRead;
      if ((flags & Cell::kWritten) != 0)
        kept |= (flags & Cell::kWriteAtomic) != 0 ? Cell::kOthersAtomic : Cell::kOthersWrote;
    }
  }
  cell.who = kept;
  rest.pending_reads = 0;
  cell.serial = by.serial;
}

Conflict check_read(Cell& cell, CellRest& rest, const Toucher& by, int& other) {
  if ((cell.who & Cell::kInFlight) != 0) return Conflict::kInFlight;
  if ((cell.who & Cell::kInitialised) == 0) return Conflict::kUninitialised;
  if ((cell.who & (Cell::kOthersWrote | Cell::kOthersAtomic)) != 0) return Conflict::kOtherBlockWrote;
  other = cell.writer();
  if ((cell.who & Cell::kWritten) != 0 && !by.clocks.before(other, cell.write_clock, by.thread))
    return Conflict::kAfterWrite;
  if ((cell.who & Cell::kRead) != 0 && cell.reader() != by.thread) {
    rest.reader = static_cast<std::uint16_t>(cell.reader());
    rest.read_clock = cell.read_clock;
    cell.set(Cell::kReadTwice);
  }
  cell.set_reader(by.thread, by.clock);
  cell.set(Cell::kRead);
  return Conflict::kNone;
}

Conflict check_write(Cell& cell, const CellRest& rest, bool atomic, const Toucher& by, int& other) {
  const std::uint32_t flags = cell.flags();
  if ((flags & Cell::kInFlight) != 0) return Conflict::kInFlight;
  if ((flags & Cell::kPendingRead) != 0) return Conflict::kPendingRead;
  if (atomic && (flags & Cell::kInitialised) == 0) return Conflict::kUninitialised;
  if ((flags & Cell::kOthersWrote) != 0 || (!atomic && (flags & Cell::kOthersAtomic) != 0))
    return Conflict::kOtherBlockWrote;
  if ((flags & Cell::kOthersRead) != 0) return Conflict::kOtherBlockRead;
  const bool both_atomic = atomic && (flags & Cell::kWriteAtomic) != 0;
  other = cell.writer();
  if ((flags & Cell::kWritten) != 0 && !both_atomic && !by.clocks.before(other, cell.write_clock, by.thread))
    return Conflict::kAfterWrite;
  other = cell.reader();
  if ((flags & Cell::kRead) != 0 && !by.clocks.before(other, cell.read_clock, by.thread)) return Conflict::kAfterRead;
  other = rest.reader;
  if ((flags & Cell::kReadTwice) != 0 && !by.clocks.before(other, rest.read_clock, by.thread))
    return Conflict::kAfterRead;
  cell.set_writer(by.thread, by.clock);
  cell.clear(Cell::kRead | Cell::kReadTwice | Cell::kWriteAtomic | Cell::kWriteAsync);
  cell.set(Cell::kWritten | Cell::kInitialised);
  if (atomic) cell.set(Cell::kWriteAtomic);
  return Conflict::kNone;
}

Conflict touch_cell(Cell& cell, CellRest& rest, Access access, const Toucher& by, int& other) {
  if (cell.serial != by.serial) begin_block(cell, rest, by);
  if (access == Access::kRead) return check_read(cell, rest, by, other);
  return check_write(cell, rest, access == Access::kAtomic, by, other);
}

}  // namespace

void Shadow::Free::operator()(void* cells) const { std::free(cells); }

template <typename T>
Shadow::Array<T> Shadow::make_array(std::size_t count) {
  auto* const cells = static_cast<T*>(std::calloc(slot(count), sizeof(T)));
  if (cells == nullptr) throw std::bad_alloc();
  return Array<T>(cells);
}

Shadow::Shadow(std::size_t bytes)
    : words_(make_array<Cell>(bytes / 4 + 1)),
      words_rest_(make_array<CellRest>(bytes / 4 + 1)),
      bytes_(make_array<Cell>(bytes / 4 * 4 + 4)),
      bytes_rest_(make_array<CellRest>(bytes / 4 * 4 + 4)) {}

void Shadow::split(std::size_t word) {
  Cell& cell = words_[slot(word)];
  if ((cell.who & Cell::kSplit) != 0) return;
  for (std::size_t i = 4 * word; i < 4 * word + 4; ++i) {
    bytes_[slot(i)] = cell;
    bytes_rest_[slot(i)] = words_rest_[slot(word)];
  }
  cell.set(Cell::kSplit);
}

Conflict Shadow::touch_part(std::size_t offset, std::size_t bytes, Access access, const Toucher& by, int& other) {
  split(offset / 4);
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    const Conflict conflict = touch_cell(bytes_[slot(i)], bytes_rest_[slot(i)], access, by, other);
    if (conflict != Conflict::kNone) return conflict;
  }
  if (bytes == 4 && access == Access::kWrite) {  // one history from here on
    words_[slot(offset / 4)] = bytes_[slot(offset)];
    words_rest_[slot(offset / 4)] = bytes_rest_[slot(offset)];
  }
  return Conflict::kNone;
}

Conflict Shadow::touch(std::size_t offset, std::size_t bytes, Access access, const Toucher& by, int& other) {
  if (touch_part_quickly(offset, bytes, access, by)) return Conflict::kNone;
  const std::size_t end = offset + bytes;
  for (std::size_t at = offset; at < end;) {
    const std::size_t part = std::min(end - at, 4 - at % 4);
    Cell& word = words_[slot(at / 4)];
    CellRest& rest = words_rest_[slot(at / 4)];
    if (by.shared && word.serial != by.serial) begin_block(word, rest, by);  // nothing of another block's is left
    const bool whole = part == 4 && (word.who & Cell::kSplit) == 0;
    const Conflict conflict =
        whole ? touch_cell(word, rest, access, by, other) : touch_part(at, part, access, by, other);
    if (conflict != Conflict::kNone) return conflict;
    at += part;
  }
  return Conflict::kNone;
}

}  // namespace lastbit::simt

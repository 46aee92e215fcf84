// What the executor remembers of every byte of shared and global memory: who wrote it, who read it, and when. Four
// bytes that were only ever touched together share a cell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/simt/clocks.h"

namespace lastbit::simt {

enum class Access : std::uint8_t { kRead, kWrite, kAtomic };

// Of a byte, or of four. Zero bytes are a fresh cell.
struct Cell {
  enum Flag : std::uint16_t {
    kInitialised = 1,   // ever, by anybody
    kWritten = 2,       // by `writer`, in the block `serial`; so is what follows
    kWriteAtomic = 4,   // that write was an atomic operation
    kWriteAsync = 8,    // or the asynchronous proxy's, which needs no fence
    kRead = 16,         // by reader[0]
    kReadTwice = 32,    // and by another thread, reader[1]
    kInFlight = 64,     // an asynchronous copy to here has not ended
    kOthersRead = 128,  // other blocks of this launch did
    kOthersWrote = 256,
    kOthersAtomic = 512,
    kSplit = 1024,  // of four bytes: they have cells of their own
  };
  std::uint32_t serial;  // of the block that the fields below are about
  std::uint32_t write_clock;
  std::uint32_t read_clock[2];
  std::uint16_t writer;
  std::uint16_t reader[2];  // the last two threads that read since the last write: whoever writes is not one of them
  std::uint16_t flags;
  std::uint16_t pending_reads;  // asynchronous operations that still read it
};

// Who accesses.
struct Toucher {
  std::uint32_t serial;        // of the block, counted over all launches
  std::uint32_t first_serial;  // of the launch's first block
  int thread;                  // of the block
  std::uint32_t clock;
  bool shared;                 // whether the memory is
  const std::uint32_t* floor;  // clocks.floor()
  const Clocks& clocks;
};

enum class Conflict : std::uint8_t {
  kNone,
  kUninitialised,
  kAfterWrite,       // of thread `writer`, without an order
  kAfterRead,        // of a reader
  kOtherBlockWrote,  // of the same launch
  kOtherBlockRead,
  kInFlight,     // a copy to here has not been waited for
  kPendingRead,  // an asynchronous operation still reads what is overwritten
};

// The cells of a range of memory that begins at a multiple of four bytes. Pages of it cost nothing until touched.
class Shadow {
 public:
  explicit Shadow(std::size_t bytes);

  // Checks an access and remembers it, unless there is a conflict; `other` is the thread that it is with. Two writers
  // of the same value conflict, too. Atomic operations conflict with everything but one another.
  [[nodiscard]] Conflict touch(std::size_t offset, std::size_t bytes, Access access, const Toucher& by, int& other);
  // touch() where nothing is out of the ordinary: whole words whose history is of this block, or of nobody since the
  // launch began, and older than a barrier of all threads. False: touch() decides. It runs at every access.
  [[nodiscard]] bool touch_quickly(std::size_t offset, std::size_t bytes, Access access, const Toucher& by) {
    if ((offset | bytes) % 4 != 0 || access == Access::kAtomic) return false;
    for (std::size_t at = offset; at < offset + bytes; at += 4) {
      Cell& cell = words_[at / 4];
      if (!(access == Access::kRead ? read_quickly(cell, by) : write_quickly(cell, by))) return false;
    }
    return true;
  }
  // Calls visit(cell, offset of its first byte) for the cells of [offset, offset + bytes).
  template <typename Visit>
  void each(std::size_t offset, std::size_t bytes, const Visit& visit) {
    const std::size_t end = offset + bytes;
    for (std::size_t at = offset; at < end;) {
      Cell& word = words_[at / 4];
      if (at % 4 == 0 && end - at >= 4 && (word.flags & Cell::kSplit) == 0) {
        visit(word, at);
        at += 4;
        continue;
      }
      split(at / 4);
      visit(bytes_[at], at);
      ++at;
    }
  }

 private:
  struct Free {
    void operator()(Cell* cells) const;
  };
  using Cells = std::unique_ptr<Cell[], Free>;

  static Cells make_cells(std::size_t count);
  static constexpr unsigned kUnusual =
      Cell::kSplit | Cell::kInFlight | Cell::kOthersRead | Cell::kOthersWrote | Cell::kOthersAtomic;

  // The flags as far as they are about this block.
  static unsigned flags_now(const Cell& cell, const Toucher& by) {
    const unsigned flags = cell.flags;
    return cell.serial == by.serial ? flags : flags & (kUnusual | Cell::kInitialised);
  }
  static bool current(const Cell& cell, const Toucher& by) {
    return cell.serial == by.serial || (cell.serial < by.first_serial && !by.shared);
  }
  static bool known(int other, std::uint32_t clock, const Toucher& by) {
    return other == by.thread || clock <= by.floor[other];
  }
  static bool read_quickly(Cell& cell, const Toucher& by) {
    const unsigned flags = flags_now(cell, by);
    if (!current(cell, by) || (flags & (kUnusual | Cell::kInitialised)) != Cell::kInitialised) return false;
    if ((flags & Cell::kWritten) != 0 && !known(cell.writer, cell.write_clock, by)) return false;
    unsigned now = flags | Cell::kRead;
    if ((flags & Cell::kRead) != 0 && cell.reader[0] != by.thread) {
      cell.reader[1] = cell.reader[0];
      cell.read_clock[1] = cell.read_clock[0];
      now |= Cell::kReadTwice;
    }
    cell.reader[0] = static_cast<std::uint16_t>(by.thread);
    cell.read_clock[0] = by.clock;
    cell.serial = by.serial;
    cell.flags = static_cast<std::uint16_t>(now);
    return true;
  }
  static bool write_quickly(Cell& cell, const Toucher& by) {
    const unsigned flags = flags_now(cell, by);
    if (!current(cell, by) || (flags & kUnusual) != 0 || cell.pending_reads != 0) return false;
    if ((flags & Cell::kWritten) != 0 && !known(cell.writer, cell.write_clock, by)) return false;
    if ((flags & Cell::kRead) != 0 && !known(cell.reader[0], cell.read_clock[0], by)) return false;
    if ((flags & Cell::kReadTwice) != 0 && !known(cell.reader[1], cell.read_clock[1], by)) return false;
    cell.writer = static_cast<std::uint16_t>(by.thread);
    cell.write_clock = by.clock;
    cell.serial = by.serial;
    cell.flags = Cell::kWritten | Cell::kInitialised;
    return true;
  }
  void split(std::size_t word);
  Conflict touch_part(std::size_t offset, std::size_t bytes, Access access, const Toucher& by, int& other);

  Cells words_;
  Cells bytes_;  // of the words that are split
};

}  // namespace lastbit::simt

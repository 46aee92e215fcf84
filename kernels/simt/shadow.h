// What the executor remembers of every byte of shared and global memory: who wrote it, who read it, and when. Four
// bytes that were only ever touched together share a cell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/simt/cell.h"

namespace lastbit::simt {

// The cells of a range of memory that begins at a multiple of four bytes. Pages of it cost nothing until touched.
class Shadow {
 public:
  explicit Shadow(std::size_t bytes);

  // Checks an access and remembers it, unless there is a conflict; `other` is the thread that it is with. Two writers
  // of the same value conflict, too. Atomic operations conflict with everything but one another.
  [[nodiscard]] Conflict touch(std::size_t offset, std::size_t bytes, Access access, const Toucher& by, int& other);
  // touch() where nothing is out of the ordinary: whole words whose history is of this block, or of nobody since the
  // launch began, and older than a barrier of all threads. False: touch() decides. It runs at every access, inlined, so
  // that size and kind are known.
  [[nodiscard, gnu::always_inline]] bool touch_quickly(std::size_t offset, std::size_t bytes, Access access,
                                                       const Toucher& by) {
    if (access == Access::kAtomic || (offset | bytes) % 4 != 0) return false;
    // The lanes that run next mostly touch what lies behind, and their cells come from far away.
    __builtin_prefetch(words_.get() + slot(offset / 4) + 8, 1);
    for (std::size_t i = 0; i < bytes / 4; ++i) {
      const std::size_t at = slot(offset / 4 + i);
      if (!touch_cell_quickly(words_[at], words_rest_[at], access, by)) return false;
    }
    return true;
  }
  // Calls visit(cell, rest, offset of its first byte) for the cells of [offset, offset + bytes).
  template <typename Visit>
  void each(std::size_t offset, std::size_t bytes, const Visit& visit) {
    const std::size_t end = offset + bytes;
    for (std::size_t at = offset; at < end;) {
      Cell& word = words_[slot(at / 4)];
      if (at % 4 == 0 && end - at >= 4 && (word.who & Cell::kSplit) == 0) {
        visit(word, words_rest_[slot(at / 4)], at);
        at += 4;
        continue;
      }
      split(at / 4);
      visit(bytes_[slot(at)], bytes_rest_[slot(at)], at);
      ++at;
    }
  }

 private:
  struct Free {
    void operator()(void* cells) const;
  };
  template <typename T>
  using Array = std::unique_ptr<T[], Free>;

  // Where the cell of word or byte `i` is. After 64 cells a line of the host's cache stays free, or a kernel that walks
  // in strides of a power of two, as most do, would have all its cells in a few sets of that cache.
  static std::size_t slot(std::size_t i) { return i + i / 64 * 4; }
  template <typename T>
  static Array<T> make_array(std::size_t count);
  static constexpr std::uint32_t kUnusual = Cell::kSplit | Cell::kInFlight | Cell::kOthersRead | Cell::kOthersWrote |
                                            Cell::kOthersAtomic | Cell::kPendingRead;

  static bool known(int other, std::uint32_t clock, const Toucher& by) {
    return other == by.thread || clock <= by.floor[other];
  }
  [[gnu::always_inline]] static bool touch_cell_quickly(Cell& cell, CellRest& rest, Access access, const Toucher& by) {
    if (cell.serial != by.serial && !begin_quickly(cell, by)) return false;
    return access == Access::kRead ? read_quickly(cell, rest, by) : write_quickly(cell, rest, by);
  }
  // Global memory that no block of this launch has touched.
  [[gnu::always_inline]] static bool begin_quickly(Cell& cell, const Toucher& by) {
    if (by.shared || cell.serial >= by.first_serial || (cell.who & kUnusual) != 0) return false;
    cell.serial = by.serial;
    cell.who &= Cell::kInitialised;
    return true;
  }
  [[gnu::always_inline]] static bool read_quickly(Cell& cell, CellRest& rest, const Toucher& by) {
    if ((cell.who & (kUnusual | Cell::kInitialised)) != Cell::kInitialised) return false;
    if ((cell.who & Cell::kWritten) != 0 && !known(cell.writer(), cell.write_clock, by)) return false;
    if ((cell.who & Cell::kRead) != 0 && cell.reader() != by.thread) {
      rest.reader = static_cast<std::uint16_t>(cell.reader());
      rest.read_clock = cell.read_clock;
      cell.set(Cell::kReadTwice);
    }
    cell.set_reader(by.thread, by.clock);
    cell.set(Cell::kRead);
    return true;
  }
  [[gnu::always_inline]] static bool write_quickly(Cell& cell, const CellRest& rest, const Toucher& by) {
    const std::uint32_t who = cell.who;
    if ((who & kUnusual) != 0) return false;
    if ((who & Cell::kWritten) != 0 && !known(cell.writer(), cell.write_clock, by)) return false;
    if ((who & Cell::kRead) != 0 && !known(cell.reader(), cell.read_clock, by)) return false;
    if ((who & Cell::kReadTwice) != 0 && !known(rest.reader, rest.read_clock, by)) return false;
    cell.who = Cell::kWritten | Cell::kInitialised;
    cell.set_writer(by.thread, by.clock);
    return true;
  }
  // Likewise for some bytes of a word that is split already; a write of all four joins them again.
  bool touch_part_quickly(std::size_t offset, std::size_t bytes, Access access, const Toucher& by) {
    const Cell& word = words_[slot(offset / 4)];
    if (access == Access::kAtomic || bytes >= 4 || (word.who & Cell::kSplit) == 0 || offset % 4 + bytes > 4 ||
        (by.shared && word.serial != by.serial))
      return false;
    for (std::size_t at = offset; at < offset + bytes; ++at)
      if (!touch_cell_quickly(bytes_[slot(at)], bytes_rest_[slot(at)], access, by)) return false;
    return true;
  }
  void split(std::size_t word);
  Conflict touch_part(std::size_t offset, std::size_t bytes, Access access, const Toucher& by, int& other);

  Array<Cell> words_;
  Array<CellRest> words_rest_;
  Array<Cell> bytes_;  // of the words that are split
  Array<CellRest> bytes_rest_;
};

}  // namespace lastbit::simt

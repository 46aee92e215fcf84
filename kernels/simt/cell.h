// One byte's history, and what an access to it may run into.
#pragma once

#include <cstdint>

#include "kernels/simt/clocks.h"
#include "kernels/simt/limits.h"

namespace lastbit::simt {

enum class Access : std::uint8_t { kRead, kWrite, kAtomic };

// Of a byte, or of four. Zero bytes are a fresh cell. Sixteen bytes, because nearly every access of a kernel brings one
// from far away in the host's memory.
struct Cell {
  enum Flag : std::uint32_t {
    kInitialised = 1,   // ever, by anybody
    kWritten = 2,       // by `writer`, in the block `serial`; so is what follows
    kWriteAtomic = 4,   // that write was an atomic operation
    kWriteAsync = 8,    // or the asynchronous proxy's, which needs no fence
    kRead = 16,         // by `reader`
    kReadTwice = 32,    // and by another thread, that of CellRest
    kInFlight = 64,     // an asynchronous copy to here has not ended
    kOthersRead = 128,  // other blocks of this launch did
    kOthersWrote = 256,
    kOthersAtomic = 512,
    kSplit = 1024,        // of four bytes: they have cells of their own
    kPendingRead = 2048,  // CellRest::pending_reads is not 0
    kAllFlags = 4095,
  };
  static constexpr int kWriterBit = 12;  // threads of a block have 10 bits each
  static constexpr int kReaderBit = 22;
  static_assert(kMostThreads <= 1 << (kReaderBit - kWriterBit) && kMostThreads <= 1 << (32 - kReaderBit));

  std::uint32_t serial;  // of the block that the fields below are about
  std::uint32_t write_clock;
  std::uint32_t read_clock;
  std::uint32_t who;  // flags, writer and reader

  [[nodiscard]] std::uint32_t flags() const { return who & kAllFlags; }
  [[nodiscard]] int writer() const { return static_cast<int>(who >> kWriterBit) % kMostThreads; }
  [[nodiscard]] int reader() const { return static_cast<int>(who >> kReaderBit); }
  void set(std::uint32_t more) { who |= more; }
  void clear(std::uint32_t less) { who &= ~less; }
  void set_writer(int thread, std::uint32_t clock) {
    who = (who & ~(std::uint32_t{kMostThreads - 1} << kWriterBit)) | static_cast<std::uint32_t>(thread) << kWriterBit;
    write_clock = clock;
  }
  void set_reader(int thread, std::uint32_t clock) {
    who = (who & ~(~0U << kReaderBit)) | static_cast<std::uint32_t>(thread) << kReaderBit;
    read_clock = clock;
  }
};

// What few cells have.
struct CellRest {
  std::uint32_t read_clock;     // of the thread that read before Cell::reader and since the last write: whoever
  std::uint16_t reader;         // writes next is not one of these two
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

}  // namespace lastbit::simt

// One byte's history, and what an access to it may run into.
#pragma once

#include <cstdint>

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

}  // namespace lastbit::simt

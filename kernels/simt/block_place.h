// Where a block stands in its launch, what its threads wait for, and who has come to a barrier.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/simt/finding.h"
#include "kernels/simt/language.h"

namespace lastbit::simt {

// Where a block stands in its launch.
struct BlockPlace {
  const char* kernel;
  dim3 grid;
  dim3 block;  // its size in threads
  dim3 index;
  std::uint32_t serial;        // counted over all launches of the program
  std::uint32_t first_serial;  // of the launch
};

// What a thread waits for, put into words only when it does so in vain: "at barrier 1".
struct WaitReason {
  const char* text;  // with a place for `value`
  std::uint32_t value = 0;
  const char* name = "";  // and, in front of it, for this
};

// A barrier that some threads have come to.
struct BarrierState {
  int expected = 0;
  std::vector<int> came;
  std::vector<int> waiting;  // those of them that do
  Site site;
};

}  // namespace lastbit::simt

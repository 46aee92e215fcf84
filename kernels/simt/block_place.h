// Where a block stands in its launch, what its threads wait for, and who has come to a barrier.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/simt/builtin_indices.h"
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

// A thread of the block. Whether it waits or has ended is a bit of its warp's.
struct ThreadState {
  Index3 index{};
  bool product_fence = false;
  std::uint32_t fence_clock = 0;       // writes up to here are seen by the asynchronous proxy
  std::function<bool()> ready;         // where it waits until this is true
  const WaitReason* reason = nullptr;  // once it has waited; on its stack, as is
  const Site* wait_site = nullptr;
  Site last_barrier;
};

// A barrier that some threads have come to.
struct BarrierState {
  int expected = 0;
  std::vector<int> came;
  std::vector<int> waiting;  // those of them that do
  Site site;
};

}  // namespace lastbit::simt

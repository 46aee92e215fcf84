// The threads of a block as fibers: each has a stack of its own and runs until it gives up the processor.
#pragma once

#include <cstddef>
#include <functional>

#include "kernels/simt/stack_switch.h"

namespace lastbit::simt {

// Stacks for as many fibers as a block may have threads, each over a page that may not be touched. They are mapped
// once and used again and again. Errors: an I/O error where the system has no room.
class Stacks {
 public:
  static constexpr std::size_t kBytes = std::size_t{17} << 12;

  static Stacks& instance();
  [[nodiscard]] std::byte* low(int index) const { return base_ + static_cast<std::size_t>(index) * kStride + kGuard; }
  // Where stack `index` begins, growing down. Not all at the same place of a page, or the frames of a warp's threads
  // would all be in a few sets of the host's cache.
  [[nodiscard]] std::byte* top(int index) const {
    return low(index) + kBytes - static_cast<std::size_t>(index % 8) * kStagger;
  }

 private:
  static constexpr std::size_t kGuard = 4096;
  static constexpr std::size_t kStride = kBytes + kGuard;
  static constexpr std::size_t kStagger = 512;

  Stacks();
  std::byte* base_;
};

// A fiber that does one job after the other, or the thread of the host that began it all.
class Fiber {
 public:
  // Does some work and says who runs next.
  using Job = std::function<Fiber*()>;

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes `job` what this runs from the next switch to it on, on stack `index`. A job before that has not ended is
  // given up: it is not unwound, for what a kernel has on its stack owns nothing.
  void start(int index, const Job* job);
  // Called in this fiber: goes on in `next` until somebody switches back. One call rather than two by way of a
  // scheduler, and from like to like, so that the processor predicts where calls return to.
  void switch_to(Fiber& next);

  [[nodiscard]] const std::byte* stack() const { return stack_; }

 private:
  static void run_jobs();  // what every fiber does

  static Fiber* leaving_;  // who switched last, and to whom; one launch runs at a time
  static Fiber* running_;

  StackPoint point_ = nullptr;  // where it goes on, while it does not run
  const Job* job_ = nullptr;    // null once it has ended
  const std::byte* stack_ = nullptr;
  const void* bounds_ = nullptr;  // for AddressSanitizer, which must be told of every switch
  std::size_t bound_bytes_ = 0;
};

}  // namespace lastbit::simt

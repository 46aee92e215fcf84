// The threads of a block as fibers: each has a stack of its own and runs until it gives up the processor.
#pragma once

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <functional>

namespace lastbit::simt {

// Stacks for as many fibers as a block may have threads, each over a page that may not be touched. They are mapped
// once and used again and again. Errors: an I/O error where the system has no room.
class Stacks {
 public:
  static constexpr std::size_t kBytes = std::size_t{1} << 16;

  static Stacks& instance();
  [[nodiscard]] std::byte* low(int index) const { return base_ + static_cast<std::size_t>(index) * kStride + kGuard; }

 private:
  static constexpr std::size_t kGuard = 4096;
  static constexpr std::size_t kStride = kBytes + kGuard;

  Stacks();
  std::byte* base_;
};

// A fiber that does one job after the other.
class Fiber {
 public:
  Fiber() = default;
  ~Fiber() { forget(); }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs `job` from the next resume() on, on stack `index`. A job before that has not ended is given up: it is not
  // unwound, for what a kernel has on its stack owns nothing.
  void start(int index, const std::function<void()>* job);
  // Returns when the job pauses or ends.
  void resume();
  // Called within the job: goes back to who resumed it.
  void pause();

  [[nodiscard]] const std::byte* stack() const { return stack_; }

 private:
  void forget();

  boost::context::fiber self_;
  boost::context::fiber resumer_;
  const std::function<void()>* job_ = nullptr;  // null once it has ended
  const std::byte* stack_ = nullptr;
  const void* resumer_stack_ = nullptr;  // for AddressSanitizer, which must be told of every switch
  std::size_t resumer_bytes_ = 0;
};

}  // namespace lastbit::simt

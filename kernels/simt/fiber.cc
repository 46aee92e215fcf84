#include "kernels/simt/fiber.h"

#include <sys/mman.h>

#include <new>
#include <utility>

#include "core/error.h"
#include "kernels/simt/limits.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace lastbit::simt {
namespace {

void tell_before_switch([[maybe_unused]] const void* stack, [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, stack, bytes);
#endif
}

void tell_after_switch([[maybe_unused]] const void** from, [[maybe_unused]] std::size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, from, bytes);
#endif
}

// What a job that was given up has left there is nobody's.
void tell_stack_is_free([[maybe_unused]] const std::byte* low) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(low, Stacks::kBytes);
#endif
}

}  // namespace

Fiber* Fiber::leaving_ = nullptr;
Fiber* Fiber::running_ = nullptr;

Stacks::Stacks() {
  const std::size_t bytes = kStride * kMostThreads;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) core::fail_io("cannot map {} bytes for the stacks of a block's threads", bytes);
  base_ = static_cast<std::byte*>(memory);
  for (std::size_t i = 0; i < kMostThreads; ++i)
    if (mprotect(base_ + i * kStride, kGuard, PROT_NONE) != 0) core::fail_io("cannot guard the stacks of a block");
}

Stacks& Stacks::instance() {
  static Stacks stacks;
  return stacks;
}

void Fiber::run_jobs() {
  tell_after_switch(&leaving_->bounds_, &leaving_->bound_bytes_);
  Fiber& mine = *running_;
  for (;;) {
    Fiber* const next = (*mine.job_)();
    mine.job_ = nullptr;
    mine.switch_to(*next);
  }
}

void Fiber::start(int index, const Job* job) {
  const bool idle = stack_ != nullptr && job_ == nullptr;
  job_ = job;
  if (idle) return;
  std::byte* const low = Stacks::instance().low(index);
  tell_stack_is_free(low);
  stack_ = low;
  bounds_ = low;
  bound_bytes_ = Stacks::kBytes;
  std::byte* const top = Stacks::instance().top(index);
  point_ = new_stack(top, static_cast<std::size_t>(top - low), run_jobs);
}

void Fiber::switch_to(Fiber& next) {
  tell_before_switch(next.bounds_, next.bound_bytes_);
  leaving_ = this;
  running_ = &next;
  switch_stack(point_, next.point_);
  tell_after_switch(&leaving_->bounds_, &leaving_->bound_bytes_);
}

}  // namespace lastbit::simt

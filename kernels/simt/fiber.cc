#include "kernels/simt/fiber.h"

#include <sys/mman.h>

#include <new>
#include <utility>

#include "core/error.h"
#include "kernels/simt/limits.h"

#if defined(__SANITIZE_ADDRESS__)
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

// Boost asks this for a stack and is given one that stays ours.
struct LentStack {
  std::byte* low;

  boost::context::stack_context allocate() const {
    boost::context::stack_context context;
    context.size = Stacks::kBytes;
    context.sp = low + Stacks::kBytes;
    return context;
  }
  void deallocate(boost::context::stack_context& /*context*/) const {}
};

}  // namespace

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

void Fiber::forget() {
  alignas(boost::context::fiber) std::byte grave[sizeof(boost::context::fiber)];
  ::new (static_cast<void*>(grave)) boost::context::fiber(std::move(self_));  // never destroyed, so never unwound
}

void Fiber::start(int index, const std::function<void()>* job) {
  const bool idle = self_ && job_ == nullptr;
  job_ = job;
  if (idle) return;
  forget();
  std::byte* const low = Stacks::instance().low(index);
  stack_ = low;
  self_ = boost::context::fiber(std::allocator_arg, LentStack{low}, [this](boost::context::fiber&& resumer) {
    tell_after_switch(&resumer_stack_, &resumer_bytes_);
    resumer_ = std::move(resumer);
    for (;;) {
      (*job_)();
      job_ = nullptr;
      pause();
    }
    return std::move(resumer_);
  });
}

void Fiber::resume() {
  tell_before_switch(stack_, Stacks::kBytes);
  self_ = std::move(self_).resume();
  tell_after_switch(nullptr, nullptr);
}

void Fiber::pause() {
  tell_before_switch(resumer_stack_, resumer_bytes_);
  resumer_ = std::move(resumer_).resume();
  tell_after_switch(&resumer_stack_, &resumer_bytes_);
}

}  // namespace lastbit::simt

#include "kernels/simt/stack_switch.h"

#include <cstdint>

namespace lastbit::simt {

#if defined(__x86_64__) && !defined(__CET__)

// Saves what a function must keep (System V), and pops the same from the other stack.
asm(R"(
.pushsection .text
.p2align 4
.globl lastbit_simt_switch
.hidden lastbit_simt_switch
.type lastbit_simt_switch, @function
lastbit_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size lastbit_simt_switch, . - lastbit_simt_switch
.popsection
)");

StackPoint new_stack(std::byte* top, std::size_t /*bytes*/, void (*entry)()) {
  constexpr int kKept = 6;
  auto* const words = reinterpret_cast<std::uintptr_t*>(top);
  words[-1] = 0;  // entry returns to nowhere, and finds the stack as after a call
  words[-2] = reinterpret_cast<std::uintptr_t>(entry);
  for (int i = 0; i < kKept; ++i) words[-3 - i] = 0;
  return words - 2 - kKept;
}

#else

namespace {

void (*entry_of_new_stack)() = nullptr;  // of all of them

void begin_stack(boost::context::detail::transfer_t from) {
  *static_cast<StackPoint*>(from.data) = from.fctx;
  entry_of_new_stack();
}

}  // namespace

StackPoint new_stack(std::byte* top, std::size_t bytes, void (*entry)()) {
  entry_of_new_stack = entry;
  return boost::context::detail::make_fcontext(top, bytes, begin_stack);
}

#endif

}  // namespace lastbit::simt

// From one stack to another on the same thread of the host.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) || defined(__CET__)
#include <boost/context/detail/fcontext.hpp>
#endif

namespace lastbit::simt {

// Where a stack that does not run goes on.
using StackPoint = void*;

// A point at which `entry` begins on [top - bytes, top), top a multiple of 16; it must not return.
[[nodiscard]] StackPoint new_stack(std::byte* top, std::size_t bytes, void (*entry)());

// Goes on at `to` and returns when somebody switches back to what is left in `here`. Control words of the
// floating-point units are everybody's.
//
// Boost.Context does this everywhere, but ends in a jump where this ends in a return: an executor's thread comes back
// through four calls to its kernel, and after a jump the processor predicts all four returns wrongly, which costs more
// than the switch. So x86-64 has its own.
#if defined(__x86_64__) && !defined(__CET__)
extern "C" void lastbit_simt_switch(StackPoint* here, StackPoint to);
inline void switch_stack(StackPoint& here, StackPoint to) { lastbit_simt_switch(&here, to); }
#else
inline void switch_stack(StackPoint& here, StackPoint to) {
  const boost::context::detail::transfer_t from = boost::context::detail::jump_fcontext(to, &here);
  *static_cast<StackPoint*>(from.data) = from.fctx;
}
#endif

}  // namespace lastbit::simt

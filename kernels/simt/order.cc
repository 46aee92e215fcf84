#include "kernels/simt/order.h"

namespace lastbit::simt {
namespace {

// One launch runs at a time, on one thread of the host (executor.cc).
thread_local Order order_now = Order::kForward;

}  // namespace

std::string_view to_string(Order order) {
  switch (order) {
    case Order::kForward:
      return "forward";
    case Order::kReverse:
      return "reverse";
    case Order::kShuffled:
      break;
  }
  return "shuffled";
}

OrderScope::OrderScope(Order order) : before_(order_now) { order_now = order; }
OrderScope::~OrderScope() { order_now = before_; }
Order OrderScope::current() { return order_now; }

}  // namespace lastbit::simt

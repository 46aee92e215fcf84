// In which order blocks, warps and lanes run. No result of a kernel may depend on it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace lastbit::simt {

enum class Order : std::uint8_t {
  kForward,   // asynchronous copies end as late as they can
  kReverse,   // and as early as they can
  kShuffled,  // at any time
};
inline constexpr std::array kOrders{Order::kForward, Order::kReverse, Order::kShuffled};

[[nodiscard]] std::string_view to_string(Order order);

// The order of launches from here to the end of the scope; kForward without any.
class OrderScope {
 public:
  explicit OrderScope(Order order);
  ~OrderScope();
  OrderScope(const OrderScope&) = delete;
  OrderScope& operator=(const OrderScope&) = delete;

  [[nodiscard]] static Order current();

 private:
  Order before_;
};

}  // namespace lastbit::simt

// A computation under every order of the executor: its results must have the same bits.
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels/simt/finding.h"
#include "kernels/simt/order.h"

namespace lastbit::simt {

// compute() launches kernels on inputs of its own and returns their result, a vector of plain numbers. Errors: a
// Finding of a launch, and one of kind kOrder, which says the first element that differs.
template <typename Compute>
auto in_every_order(const std::string& what, const Compute& compute) {
  decltype(compute()) first;
  for (const Order order : kOrders) {
    const OrderScope scope(order);
    auto result = compute();
    if (order == kOrders.front()) {
      first = std::move(result);
      continue;
    }
    for (std::size_t i = 0; i < first.size(); ++i)
      // Bits are what is compared, of numbers too: NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
      if (std::memcmp(&first[i], &result[i], sizeof(first[i])) != 0)
        throw Finding(FindingKind::kOrder, fmt::format("{}: element {} has other bits in {} order than in {} order",
                                                       what, i, to_string(order), to_string(kOrders.front())));
  }
  return first;
}

}  // namespace lastbit::simt

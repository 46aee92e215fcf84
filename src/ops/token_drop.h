// What routers leave out of the choice: at random, or beyond the capacity of an expert or a device.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/router.h"

namespace lastbit::ops {

// The slots of all tokens, [tokens, top_k] row-major, each token's in the order of its preference.
struct Choices {
  std::int64_t tokens = 0;
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::vector<std::int64_t> expert;  // -1: not used; such slots come last
  std::vector<double> affinity;      // unbiased; exact for either dtype
  std::vector<std::uint8_t> kept;    // 1 for the used slots, until dropped

  [[nodiscard]] std::size_t slot(std::int64_t token, std::int64_t place) const {
    return static_cast<std::size_t>(token * top_k + place);
  }
};

// Each clears `kept` where the rule of RouterRule says so and returns how many it cleared.
std::int64_t skip_second_at_random(Choices& choices, const RouteContext& context);
std::int64_t drop_beyond_expert_capacity(Choices& choices, double capacity_factor);
std::int64_t drop_beyond_device_capacity(Choices& choices, const RouterRule& rule, const RouteContext& context);

}  // namespace lastbit::ops

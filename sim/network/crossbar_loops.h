// The loops over all ports of a side, vectorised: the same bits on every instruction set.
#pragma once

#include <cstddef>
#include <limits>

#include "sim/network/crossbar_levels.h"
#include "sim/network/port_values.h"

namespace lastbit::sim::network {

// Lengths are multiples of kCrossbarBlock, and arrays are aligned as PortValues are.
[[nodiscard]] double least(const double* values, std::size_t count);
// The first place from `begin` on that holds the value; `count` without one.
[[nodiscard]] std::size_t find_equal(const double* values, std::size_t begin, std::size_t count, double value);

// By link: clocks that run at the link's level and say what each of its flows has had since the start.
struct CrossbarClocks {
  PortValues level;
  PortValues service;  // the reading at service_s
  PortValues service_s;
  PortValues earliest;  // reading at which the first of the link's flows is done; infinity without one
  PortValues finish_s;  // when that is
  double first_s = std::numeric_limits<double>::infinity();  // the least of finish_s

  explicit CrossbarClocks(std::size_t links);
  [[nodiscard]] double at(std::size_t link, double now_s) const {
    return service[link] + level[link] * (now_s - service_s[link]);
  }
};

// Clocks of full links run at these levels from now on; what is known of their flows' ends follows.
void advance_clocks(CrossbarClocks& clocks, const double* level, const double* owned, double now_s);

// Puts the order and the levels from state.first_changed on right (crossbar_levels.h says how) and lists pairs that
// changed places.
void update_levels(CrossbarState& state);

// Residuals from capacities and levels, without what rounding has added up.
void refresh_residuals(CrossbarState& state);

}  // namespace lastbit::sim::network

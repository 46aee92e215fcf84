// The loops over all ports of a side, vectorised: the same bits on every instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "sim/network/crossbar_levels.h"
#include "sim/network/port_values.h"

namespace lastbit::sim::network {

// Lengths are multiples of kCrossbarBlock, and arrays are aligned as PortValues are.
[[nodiscard]] double least(const double* values, std::size_t count);
// The places that hold the value, a bit each: ceil(count / 64) words.
void find_equal(const double* values, std::size_t count, double value, std::uint64_t* bits);

// By link: clocks that run at the link's level and say what each of its flows has had since the start.
struct CrossbarClocks {
  double now_s = 0;
  PortValues service;   // the readings at now_s
  PortValues excess;    // by how much rounding made them too large
  PortValues earliest;  // reading at which the first of the link's flows is done; infinity without one
  PortValues finish_s;  // when that is, if levels stay
  double first_s = std::numeric_limits<double>::infinity();  // the least of finish_s

  explicit CrossbarClocks(std::size_t links);
};

// Lets the clocks run at these levels up to a time.
void advance_clocks(CrossbarClocks& clocks, const double* level, double now_s);

// What finish_s and first_s are at these levels: infinity where the level is 0.
void find_finishes(CrossbarClocks& clocks, const double* level);

// Puts the order and the levels right (crossbar_levels.h says how) and lists pairs that changed places.
void update_levels(CrossbarState& state);

// Residuals from capacities and levels, without what rounding has added up.
void refresh_residuals(CrossbarState& state);

}  // namespace lastbit::sim::network

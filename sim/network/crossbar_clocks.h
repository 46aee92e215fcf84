// What the flows of each port have had and which of all ends first: loops over ports, vectorised, with the same bits on
// every instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "sim/network/port_values.h"

namespace lastbit::sim::network {

// By link: clocks that run at the link's level and say what each of its flows has had since the start. Arrays of levels
// and of readings have lengths that are multiples of kCrossbarBlock and are aligned as PortValues are.
struct CrossbarClocks {
  double now_s = 0;
  PortValues service;   // the readings at now_s
  PortValues excess;    // by how much rounding made them too large
  PortValues earliest;  // reading at which the first of the link's flows is done; infinity without one
  PortValues finish_s;  // when that is, if levels stay
  double first_s = std::numeric_limits<double>::infinity();  // the least of finish_s
  std::vector<std::uint64_t> due;                            // a bit for each link that has it

  explicit CrossbarClocks(std::size_t links);
};

// Lets the clocks run at these levels up to a time.
void advance_clocks(CrossbarClocks& clocks, const double* level, double now_s);

// What finish_s, first_s and due are at these levels: infinity where the level is 0.
void find_finishes(CrossbarClocks& clocks, const double* level);

[[nodiscard]] double least_reading(const double* readings, std::size_t count);

// Makes readings of this value infinite and sets their bits, of ceil(count / 64) words. The least of all then.
double take_out(double* readings, std::size_t count, double value, std::uint64_t* bits);

}  // namespace lastbit::sim::network

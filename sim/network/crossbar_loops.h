// The loops over all ports of a side, vectorised: the same bits on every instruction set.
#pragma once

#include <cstddef>

#include "sim/network/crossbar_levels.h"

namespace lastbit::sim::network {

// How many doubles the loops take at a time at most: lengths are multiples of it.
inline constexpr std::size_t kCrossbarBlock = 8;

[[nodiscard]] double least(const double* values, std::size_t count);

// Puts the order and the levels from state.first_changed on right (crossbar_levels.h says how) and lists pairs that
// changed places. Returns the lowest position that may have changed.
std::size_t update_levels(CrossbarState& state);

// Residuals from capacities and levels, without what rounding has added up.
void refresh_residuals(CrossbarState& state);

}  // namespace lastbit::sim::network

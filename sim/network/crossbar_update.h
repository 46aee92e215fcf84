// The loops of CrossbarLevels over all ports of a side, vectorised: the same bits on every instruction set.
#pragma once

#include "sim/network/crossbar_levels.h"

namespace lastbit::sim::network {

// Puts the order and the levels right (crossbar_levels.h says how) and lists flows that changed owners.
// Error(kInternal) if links pass each other without an end.
void update_levels(CrossbarState& state);

// Residuals from capacities and levels, without what rounding has added up.
void refresh_residuals(CrossbarState& state);

}  // namespace lastbit::sim::network

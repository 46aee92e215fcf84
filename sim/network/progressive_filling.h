// The plain twin of MaxMin and solve().
#pragma once

#include <vector>

#include "sim/network/flow_list.h"
#include "sim/network/sharing.h"

namespace lastbit::sim::network {

// Completions of all flows by progressive filling of the whole network at every event, as the textbook has it: time
// grows with events x (flows + links) x links. Tests hold solve() against it.
[[nodiscard]] std::vector<double> progressive_filling(const LinkList& links, const FlowList& flows, Sharing sharing);

}  // namespace lastbit::sim::network

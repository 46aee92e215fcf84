// Flows that share links, directly or through others.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/network/flow_list.h"

namespace lastbit::sim::network {

// Parts of a network that have no link in common.
struct Components {
  std::vector<std::vector<std::uint32_t>> flows;  // of each component, in rising order
  std::vector<std::vector<std::uint32_t>> links;  // of each component
  std::vector<std::uint32_t> local_link;          // place of each link among those of its component
};

[[nodiscard]] Components find_components(std::size_t num_links, const FlowList& flows);

}  // namespace lastbit::sim::network

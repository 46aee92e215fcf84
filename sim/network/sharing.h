// How flows that meet on a link share it.
#pragma once

#include <string>
#include <vector>

#include "sim/network/flow_list.h"

namespace lastbit::sim::network {

enum class Sharing {
  kMaxMin,          // plain max-min: equal shares
  kInverseLatency,  // shares weighted by 1 / latency of the route, as TCP's round trips make them (and SimGrid's CM02)
};

// "maxmin" and "inverse_latency", as scenario files and --sharing write them.
[[nodiscard]] const std::vector<std::string>& sharing_names();
[[nodiscard]] Sharing parse_sharing(const std::string& name);  // Error(kInput) with a suggestion
[[nodiscard]] const std::string& sharing_name(Sharing sharing);

// What the sharing makes of a list of flows.
struct Prepared {
  std::vector<double> active_s;  // when each flow begins to share: its start and its route's latency
  std::vector<double> weight;    // empty: all 1
};

// Error(kInput): inverse latency where some routes have a latency and others have none (their share would be
// infinite). Where none has, shares are equal.
[[nodiscard]] Prepared prepare(const LinkList& links, const FlowList& flows, Sharing sharing);

}  // namespace lastbit::sim::network

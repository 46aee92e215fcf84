// SimGrid as the rival of the network's benchmarks, where Debian's libsimgrid-dev is installed.
#pragma once

#include <vector>

#include "sim/network/flow_list.h"

namespace lastbit::bench {

struct SimgridRun {
  bool available = false;
  double build_s = 0;  // platform: hosts, links, routes
  double run_s = 0;    // from the flow list to the last completion
  std::vector<double> completion_s;
};

// Who sends: one actor all flows, asynchronously, which is the fastest way that we know; or an actor a flow, by the
// blocking Comm::sendto.
enum class SimgridActors { kOne, kOnePerFlow };

// The flows from GPU `ends[i][0]` to `ends[i][1]` by SimGrid's flow model CM02 without its empirical factors, with the
// precision of the ground truth; plain max-min, so links without latency only. In a process of its own, because SimGrid
// makes one platform a process. Different flows have different ends.
[[nodiscard]] SimgridRun run_simgrid(const sim::network::LinkList& links, const sim::network::FlowList& flows,
                                     const std::vector<std::pair<std::uint32_t, std::uint32_t>>& ends,
                                     SimgridActors actors);

}  // namespace lastbit::bench

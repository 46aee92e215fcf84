#include "sim/network/sharing.h"

#include <algorithm>

#include "core/error.h"
#include "core/suggest.h"

namespace lastbit::sim::network {

const std::vector<std::string>& sharing_names() {
  static const std::vector<std::string> names{"maxmin", "inverse_latency"};
  return names;
}

Sharing parse_sharing(const std::string& name) {
  const std::vector<std::string>& names = sharing_names();
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<Sharing>(i);
  core::fail_input("sharing: found '{}', expected 'maxmin' or 'inverse_latency'{}", name,
                   core::suggestion(name, names));
}

const std::string& sharing_name(Sharing sharing) { return sharing_names()[static_cast<std::size_t>(sharing)]; }

Prepared prepare(const LinkList& links, const FlowList& flows, Sharing sharing) {
  Prepared prepared;
  prepared.active_s.resize(flows.size());
  const bool weighted = sharing == Sharing::kInverseLatency;
  if (weighted) prepared.weight.resize(flows.size());
  std::size_t without = 0;
  std::size_t last_without = 0;
  for (std::size_t flow = 0; flow < flows.size(); ++flow) {
    const double latency_s = route_latency(links, flows.route(flow));
    prepared.active_s[flow] = flows.start_s(flow) + latency_s;
    if (!weighted) continue;
    if (latency_s > 0) {
      prepared.weight[flow] = 1 / latency_s;
    } else {
      ++without;
      last_without = flow;
    }
  }
  if (weighted && without == flows.size()) prepared.weight.clear();
  if (weighted && without > 0 && without < flows.size())
    core::fail_input("flow {}: its route has no latency while others have, expected one to share by inverse latency",
                     last_without);
  return prepared;
}

}  // namespace lastbit::sim::network

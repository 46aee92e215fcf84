#include "sim/network/components.h"

namespace lastbit::sim::network {

Components find_components(std::size_t num_links, const FlowList& flows) {
  constexpr std::uint32_t kNone = UINT32_MAX;
  std::vector<std::uint32_t> parent(num_links, kNone);  // kNone: no flow crosses it
  const auto root = [&parent](std::uint32_t link) {
    while (parent[link] != link) {
      parent[link] = parent[parent[link]];
      link = parent[link];
    }
    return link;
  };
  std::vector<std::uint32_t> crossed;  // in the order in which flows come to them
  for (std::size_t flow = 0; flow < flows.size(); ++flow) {
    const auto route = flows.route(flow);
    if (parent[route.front()] == kNone) {
      parent[route.front()] = route.front();
      crossed.push_back(route.front());
    }
    std::uint32_t its_root = root(route.front());
    for (const std::uint32_t link : route) {
      if (parent[link] == its_root) continue;  // most are, once the first flows are through
      if (parent[link] == kNone) {
        parent[link] = its_root;
        crossed.push_back(link);
      } else {  // what is there keeps its root: its links are many, a new flow's are few
        const std::uint32_t other = root(link);
        parent[its_root] = other;
        its_root = other;
      }
    }
  }
  Components result;
  result.local_link.assign(num_links, kNone);
  std::vector<std::uint32_t> component(num_links, kNone);  // of roots, then of all links
  for (const std::uint32_t link : crossed) {
    std::uint32_t& its = component[root(link)];
    if (its == kNone) {
      its = static_cast<std::uint32_t>(result.links.size());
      result.links.emplace_back();
    }
    component[link] = its;
    result.local_link[link] = static_cast<std::uint32_t>(result.links[its].size());
    result.links[its].push_back(link);
  }
  const auto of_flow = [&](std::size_t flow) { return component[flows.route(flow).front()]; };
  std::vector<std::size_t> members(result.links.size());
  for (std::size_t flow = 0; flow < flows.size(); ++flow) ++members[of_flow(flow)];
  result.flows.resize(members.size());
  for (std::size_t its = 0; its < members.size(); ++its) result.flows[its].reserve(members[its]);
  for (std::size_t flow = 0; flow < flows.size(); ++flow)
    result.flows[of_flow(flow)].push_back(static_cast<std::uint32_t>(flow));
  return result;
}

}  // namespace lastbit::sim::network

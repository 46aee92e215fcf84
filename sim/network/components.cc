#include "sim/network/components.h"

#include <numeric>

namespace lastbit::sim::network {

Components find_components(std::size_t num_links, const FlowList& flows) {
  constexpr std::uint32_t kNone = UINT32_MAX;
  std::vector<std::uint32_t> parent(num_links);
  std::iota(parent.begin(), parent.end(), 0U);
  const auto root = [&parent](std::uint32_t link) {
    while (parent[link] != link) {
      parent[link] = parent[parent[link]];
      link = parent[link];
    }
    return link;
  };
  for (std::size_t flow = 0; flow < flows.size(); ++flow) {
    const auto route = flows.route(flow);
    const std::uint32_t first = root(route.front());
    for (const std::uint32_t link : route) parent[root(link)] = first;
  }
  Components result;
  result.local_link.assign(num_links, kNone);
  std::vector<std::uint32_t> component_of_root(num_links, kNone);
  for (std::size_t flow = 0; flow < flows.size(); ++flow) {
    std::uint32_t& component = component_of_root[root(flows.route(flow).front())];
    if (component == kNone) {
      component = static_cast<std::uint32_t>(result.flows.size());
      result.flows.emplace_back();
      result.links.push_back(0);
    }
    result.flows[component].push_back(static_cast<std::uint32_t>(flow));
    for (const std::uint32_t link : flows.route(flow))
      if (result.local_link[link] == kNone) result.local_link[link] = result.links[component]++;
  }
  return result;
}

}  // namespace lastbit::sim::network

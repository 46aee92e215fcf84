#include "sim/network/inventory.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

namespace lastbit::sim::network {

Inventory take_inventory(const Fabric& fabric) {
  using Key = std::tuple<VertexKind, std::uint32_t, std::uint32_t>;
  const LinkTable& table = fabric.table();
  const cluster::Network& network = fabric.cluster().network;
  std::vector<Key> switches;
  const auto note = [&switches](const Vertex& vertex) {
    const Key key{vertex.kind, vertex.group, vertex.index};
    if (switches.empty() || switches.back() != key) switches.push_back(key);
  };
  Inventory count;
  const auto nics = static_cast<std::uint32_t>(fabric.cluster().nics());
  for (std::uint32_t nic = 0; nic < nics; ++nic) note(fabric.topology().switch_of(nic));
  double links = 0;
  for (std::uint32_t link = fabric.first_switch_link(); link < table.links.size(); ++link) {
    note(table.from[link]);
    note(table.to[link]);
    const bool leaf = table.from[link].kind == VertexKind::kLeaf || table.to[link].kind == VertexKind::kLeaf;
    links += leaf ? network.links_per_spine : 1;
  }
  std::sort(switches.begin(), switches.end());
  switches.erase(std::unique(switches.begin(), switches.end()), switches.end());
  for (const Key& key : switches) {
    count.leaves += std::get<0>(key) == VertexKind::kLeaf ? 1 : 0;
    count.spines += std::get<0>(key) == VertexKind::kSpine ? 1 : 0;
    count.cores += std::get<0>(key) == VertexKind::kCore ? 1 : 0;
    count.routers += std::get<0>(key) == VertexKind::kRouter ? 1 : 0;
  }
  count.nic_cables = std::size_t{nics} * static_cast<std::size_t>(network.nics_per_gpu);
  count.switch_cables = static_cast<std::size_t>(links) / 2;  // a cable is a link each way
  for (std::uint32_t link = 0; link < table.links.size(); ++link) count.failed_links += fabric.alive(link) ? 0 : 1;
  count.nvlink = table.links.capacity.front();
  count.nic = table.links.capacity[fabric.first_nic_link()];
  if (fabric.first_switch_link() < table.links.size())
    count.switch_link = table.links.capacity[fabric.first_switch_link()];
  return count;
}

std::string routing_name(cluster::Routing routing) {
  switch (routing) {
    case cluster::Routing::kEcmp:
      return "ecmp";
    case cluster::Routing::kAdaptive:
      return "adaptive";
    case cluster::Routing::kStatic:
      return "static";
  }
  return "";
}

}  // namespace lastbit::sim::network

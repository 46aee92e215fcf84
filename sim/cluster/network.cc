#include "sim/cluster/network.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "sim/cluster/quantity.h"

namespace lastbit::sim::cluster {
namespace {

const std::vector<std::string>& fabric_names() {  // in the order of Fabric
  static const std::vector<std::string> names{"single-switch", "fat-tree-2", "fat-tree-3",    "multi-plane-fat-tree-2",
                                              "multi-rail",    "dragonfly",  "nvlink-rack-ib"};
  return names;
}

// The place of the value of `key` in `names`.
int read_choice(const io::ConfigReader& reader, const std::string& key, const std::vector<std::string>& names) {
  const std::string found = reader.require_one_of(key, names);
  return static_cast<int>(std::find(names.begin(), names.end(), found) - names.begin());
}

void read_size(const io::ConfigReader& reader, const std::string& key, int& value) {
  if (reader.has(key)) value = static_cast<int>(reader.require_in(key, std::int64_t{1}, std::int64_t{1000000}));
}

void read_rates(const io::ConfigReader& reader, Network& network) {
  network.nic_peak = require_quantity(reader, "nic_peak", Dimension::kBandwidth);
  network.nic_attainable = require_quantity(reader, "nic_attainable", Dimension::kBandwidth);
  check_attainable(reader, "nic_attainable", network.nic_attainable, network.nic_peak);
  network.nic_messages = network.nic_attainable;
  if (reader.has("message_share"))
    network.nic_messages =
        std::min(network.nic_attainable, network.nic_peak * reader.require_in("message_share", 1e-6, 1.0));
  network.link_rate = network.nic_peak;
  if (reader.has("link_rate")) network.link_rate = require_quantity(reader, "link_rate", Dimension::kBandwidth);
}

void read_latencies(const io::ConfigReader& reader, Network& network) {
  network.latency_s = require_quantity(reader, "latency", Dimension::kTime);
  if (reader.has("switch_latency"))
    network.switch_latency_s = require_quantity(reader, "switch_latency", Dimension::kTime);
  if (reader.has("cable_latency"))
    network.cable_latency_s = require_quantity(reader, "cable_latency", Dimension::kTime);
  const int switches = switches_on_longest_path(network.kind);
  const double way_s = switches * network.switch_latency_s + (switches + 1) * network.cable_latency_s;
  if (way_s > network.latency_s)
    core::fail_input("{}: key '{}': found {} s, expected at least the {} s of {} switches and {} cables on the way",
                     reader.file(), reader.dotted("latency"), network.latency_s, way_s, switches, switches + 1);
}

int ceil_div(int a, int b) { return (a + b - 1) / b; }

void size_leaves(const io::ConfigReader& reader, int nodes, const Node& node, Network& network) {
  const int down = std::clamp(
      static_cast<int>(std::lround(network.switch_radix * network.oversubscription / (1 + network.oversubscription))),
      1, network.switch_radix - 1);
  const int on_leaf = node.nics / network.planes;  // NICs of a node that meet on a leaf
  if (network.nodes_per_leaf * on_leaf > network.switch_radix)
    core::fail_input("{}: key '{}': {} nodes with {} NICs each do not fit on a switch of {} ports", reader.file(),
                     reader.dotted("nodes_per_leaf"), network.nodes_per_leaf, on_leaf, network.switch_radix);
  // A node with more NICs than a leaf has ports down fills several.
  if (network.nodes_per_leaf == 0) network.nodes_per_leaf = down / on_leaf;
  network.nics_per_leaf = network.nodes_per_leaf > 0 ? network.nodes_per_leaf * on_leaf : down;
  const int up = network.switch_radix - down;
  if (network.spines == 0) network.spines = up;
  if (network.links_per_spine == 0) network.links_per_spine = std::max(1, up / network.spines);
  const int leaves =
      ceil_div(nodes * on_leaf, network.nics_per_leaf) * (network.kind == Fabric::kMultiRail ? network.planes : 1);
  const int most = network.kind == Fabric::kFatTree3 ? network.switch_radix * (network.switch_radix / 2)
                                                     : network.switch_radix / network.links_per_spine;
  if (leaves > most)
    core::fail_input(
        "{}: a {} of {}-port switches takes {} leaves, {} nodes make {}; expected fewer nodes, a larger {}, "
        "more planes or three layers",
        reader.file(), network.fabric, network.switch_radix, most, nodes, leaves, reader.dotted("switch_radix"));
}

void size_dragonfly(const io::ConfigReader& reader, int nodes, const Node& node, Network& network) {
  // Balanced: a = 2p = 2h, radix p + h + a - 1 (Kim, Dally, Scott, Abts, "Technology-Driven, Highly-Scalable Dragonfly
  // Topology", ISCA 2008, section 3.1).
  const int balanced = std::max(1, (network.switch_radix + 1) / 4);
  if (network.nics_per_router == 0) network.nics_per_router = balanced;
  if (network.routers_per_group == 0) network.routers_per_group = 2 * balanced;
  if (network.global_links_per_router == 0) network.global_links_per_router = balanced;
  const int ports = network.nics_per_router + network.global_links_per_router + network.routers_per_group - 1;
  if (ports > network.switch_radix)
    core::fail_input("{}: a router of this dragonfly needs {} ports, '{}' is {}", reader.file(), ports,
                     reader.dotted("switch_radix"), network.switch_radix);
  const int groups = ceil_div(nodes * node.nics, network.nics_per_router * network.routers_per_group);
  const int most = network.routers_per_group * network.global_links_per_router + 1;
  if (groups > most)
    core::fail_input("{}: a dragonfly with {} global links a group joins {} groups, {} nodes make {}", reader.file(),
                     most - 1, most, nodes, groups);
}

void check_failures(const io::ConfigReader& reader, int nodes, const Node& node, const Network& network) {
  std::vector<int> left(static_cast<std::size_t>(nodes), node.nics);
  std::vector<std::int64_t> sorted = network.failed_nics;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (sorted[i] < 0 || sorted[i] >= std::int64_t{nodes} * node.nics || (i > 0 && sorted[i] == sorted[i - 1]))
      core::fail_input("{}: key '{}': found {}, expected different NICs from 0 to {}", reader.file(),
                       reader.dotted("failed_nics"), sorted[i], std::int64_t{nodes} * node.nics - 1);
    const std::int64_t its_node = sorted[i] / node.nics;
    if (--left[static_cast<std::size_t>(its_node)] == 0 && nodes > 1)
      core::fail_input("{}: key '{}': all NICs of node {} have failed, which disconnects it", reader.file(),
                       reader.dotted("failed_nics"), its_node);
  }
}

}  // namespace

int switches_on_longest_path(Fabric fabric) {
  switch (fabric) {
    case Fabric::kSingleSwitch:
      return 1;
    case Fabric::kFatTree2:
    case Fabric::kMultiPlaneFatTree2:
    case Fabric::kMultiRail:
    case Fabric::kNvlinkRackIb:
      return 3;
    case Fabric::kFatTree3:
      return 5;
    case Fabric::kDragonfly:
      return 4;
  }
  return 1;
}

void check_attainable(const io::ConfigReader& reader, const std::string& key, double attainable, double peak) {
  if (attainable > peak) {
    core::fail_input("{}: key '{}': found {} B/s, expected at most the peak of {} B/s", reader.file(),
                     reader.dotted(key), attainable, peak);
  }
}

Network read_network(const io::ConfigReader& reader, int nodes, const Node& node) {
  Network network;
  network.kind = static_cast<Fabric>(read_choice(reader, "fabric", fabric_names()));
  network.fabric = fabric_names()[static_cast<std::size_t>(network.kind)];
  if (reader.has("routing"))
    network.routing = static_cast<Routing>(read_choice(reader, "routing", {"ecmp", "adaptive", "static"}));
  if (reader.has("cross_rail"))
    network.cross_rail = static_cast<CrossRail>(read_choice(reader, "cross_rail", {"nvlink", "spine"}));
  if (reader.has("planes")) {
    network.planes = static_cast<int>(reader.require_in("planes", std::int64_t{1}, std::int64_t{64}));
  }
  const bool in_planes = network.kind == Fabric::kMultiPlaneFatTree2 || network.kind == Fabric::kMultiRail;
  if (network.planes > 1 && !in_planes)
    core::fail_input("{}: key '{}': found {}, expected 1 in a {} fabric", reader.file(), reader.dotted("planes"),
                     network.planes, network.fabric);
  if (node.nics % network.planes != 0)
    core::fail_input("{}: key '{}': found {}, expected a divisor of the {} NICs of a node", reader.file(),
                     reader.dotted("planes"), network.planes, node.nics);
  network.nics_per_gpu = static_cast<int>(reader.require_in("nics_per_gpu", std::int64_t{1}, std::int64_t{16}));
  read_rates(reader, network);
  read_latencies(reader, network);
  if (reader.has("switch_radix"))
    network.switch_radix = static_cast<int>(reader.require_in("switch_radix", std::int64_t{2}, std::int64_t{4096}));
  if (reader.has("oversubscription")) network.oversubscription = reader.require_in("oversubscription", 1.0, 1000.0);
  read_size(reader, "nodes_per_leaf", network.nodes_per_leaf);
  read_size(reader, "spines", network.spines);
  read_size(reader, "links_per_spine", network.links_per_spine);
  read_size(reader, "nics_per_router", network.nics_per_router);
  read_size(reader, "routers_per_group", network.routers_per_group);
  read_size(reader, "global_links_per_router", network.global_links_per_router);
  if (reader.has("failed_links")) network.failed_links = reader.require<std::vector<std::string>>("failed_links");
  if (reader.has("failed_nics")) network.failed_nics = reader.require<std::vector<std::int64_t>>("failed_nics");
  reader.finish();
  if (network.kind == Fabric::kSingleSwitch) {
    if (reader.has("switch_radix") && nodes * node.nics > network.switch_radix)
      core::fail_input("{}: key '{}': found {}, expected a port for each of {} NICs", reader.file(),
                       reader.dotted("switch_radix"), network.switch_radix, nodes * node.nics);
  } else if (network.kind == Fabric::kDragonfly) {
    size_dragonfly(reader, nodes, node, network);
  } else {
    size_leaves(reader, nodes, node, network);
  }
  check_failures(reader, nodes, node, network);
  return network;
}

}  // namespace lastbit::sim::cluster

#include "sim/network/fabric.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "core/error.h"
#include "core/suggest.h"
#include "sim/cluster/network.h"
#include "sim/network/topology.h"

namespace lastbit::sim::network {
namespace {

constexpr std::uint32_t kNoNic = UINT32_MAX;

double nic_rate(const cluster::Network& network, Rates rates) {
  const double one = rates == Rates::kPeak         ? network.nic_peak
                     : rates == Rates::kAttainable ? network.nic_attainable
                                                   : network.nic_messages;
  return one * network.nics_per_gpu;
}

}  // namespace

Rates parse_rates(const std::string& name) {
  static const std::vector<std::string> names{"peak", "attainable", "messages"};
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    core::fail_input("rates: found '{}', expected peak, attainable or messages{}", name, core::suggestion(name, names));
  return static_cast<Rates>(found - names.begin());
}

std::string vertex_name(const Vertex& vertex) {
  static constexpr const char* kLetters[] = {"gpu", "nvs", "nic", "l", "s", "c", "r"};
  const char* letter = kLetters[static_cast<std::size_t>(vertex.kind)];
  if (vertex.group == Vertex::kAlone) return fmt::format("{}{}", letter, vertex.index);
  return fmt::format("{}{}{}{}", vertex.kind == VertexKind::kRouter ? "g" : "p", vertex.group, letter, vertex.index);
}

std::uint32_t LinkTable::add(const Vertex& begin, const Vertex& end, double capacity, double latency_s) {
  from.push_back(begin);
  to.push_back(end);
  return links.add(capacity, latency_s);
}

std::string LinkTable::name(std::uint32_t link) const {
  const Vertex& begin = from[link];
  const Vertex& end = to[link];
  if (end.kind == VertexKind::kNvSwitch) return fmt::format("nvup{}", begin.index);
  if (begin.kind == VertexKind::kNvSwitch) return fmt::format("nvdn{}", end.index);
  if (begin.kind == VertexKind::kGpu) return fmt::format("pcieup{}", begin.index);
  if (end.kind == VertexKind::kGpu) return fmt::format("pciedn{}", end.index);
  if (begin.kind == VertexKind::kNic) return fmt::format("nicup{}", begin.index);
  if (end.kind == VertexKind::kNic) return fmt::format("nicdn{}", end.index);
  return vertex_name(begin) + "->" + vertex_name(end);
}

Fabric::Fabric(const cluster::Cluster& cluster, Rates rates)
    : cluster_(cluster),
      gpus_per_node_(static_cast<std::uint32_t>(cluster.node.gpus)),
      nics_per_node_(static_cast<std::uint32_t>(cluster.node.nics)) {
  add_gpu_links(rates);
  const cluster::Network& network = cluster_.network;
  first_switch_link_ = static_cast<std::uint32_t>(table_.links.size());
  // Protocol headers take the same share of every link that messages cross.
  const double link_rate = network.link_rate * nic_rate(network, rates) / nic_rate(network, Rates::kPeak);
  topology_ = make_topology(cluster_, link_rate, table_);
  // The NICs' links join them to their switches, which exist only now.
  for (std::uint32_t nic = 0; nic < static_cast<std::uint32_t>(cluster_.nics()); ++nic) {
    const Vertex leaf = topology_->switch_of(nic);
    table_.to[first_nic_link_ + 2 * nic] = leaf;
    table_.from[first_nic_link_ + 2 * nic + 1] = leaf;
  }
  fail_links();
}

void Fabric::add_gpu_links(Rates rates) {
  const cluster::Node& node = cluster_.node;
  const cluster::Network& network = cluster_.network;
  const double nvlink = rates == Rates::kPeak ? node.nvlink_peak : node.nvlink_attainable;
  for (std::uint32_t gpu = 0; gpu < num_gpus(); ++gpu) {
    const Vertex self{VertexKind::kGpu, Vertex::kAlone, gpu};
    const Vertex nvswitch{VertexKind::kNvSwitch, Vertex::kAlone, node_of(gpu)};
    table_.add(self, nvswitch, nvlink, node.nvlink_latency_s / 2);
    table_.add(nvswitch, self, nvlink, node.nvlink_latency_s / 2);
  }
  first_pcie_link_ = static_cast<std::uint32_t>(table_.links.size());
  for (std::uint32_t gpu = 0; node.pcie > 0 && gpu < num_gpus(); ++gpu) {
    const Vertex self{VertexKind::kGpu, Vertex::kAlone, gpu};
    const Vertex nic{VertexKind::kNic, Vertex::kAlone, nic_of(gpu)};
    table_.add(self, nic, node.pcie, 0);
    table_.add(nic, self, node.pcie, 0);
  }
  first_nic_link_ = static_cast<std::uint32_t>(table_.links.size());
  // The latency from NIC to NIC by the longest path, less its switches and cables, is the two NICs'.
  const int switches = cluster::switches_on_longest_path(network.kind);
  const double nics_s =
      network.latency_s - switches * network.switch_latency_s - (switches + 1) * network.cable_latency_s;
  for (std::uint32_t nic = 0; nic < static_cast<std::uint32_t>(cluster_.nics()); ++nic) {
    const Vertex self{VertexKind::kNic, Vertex::kAlone, nic};
    table_.add(self, self, nic_rate(network, rates), nics_s / 2 + network.cable_latency_s);
    table_.add(self, self, nic_rate(network, rates), nics_s / 2 + network.cable_latency_s + network.switch_latency_s);
  }
}

void Fabric::fail_links() {
  const cluster::Network& network = cluster_.network;
  any_failed_ = !network.failed_links.empty() || !network.failed_nics.empty();
  if (!any_failed_) return;
  failed_.assign(table_.links.size(), false);
  for (const std::int64_t nic : network.failed_nics) {
    failed_[first_nic_link_ + 2 * static_cast<std::size_t>(nic)] = true;
    failed_[first_nic_link_ + 2 * static_cast<std::size_t>(nic) + 1] = true;
  }
  if (network.failed_links.empty()) return;
  std::unordered_map<std::string, std::vector<std::uint32_t>> by_name;  // parallel links share a name
  for (std::uint32_t link = first_switch_link_; link < table_.links.size(); ++link)
    by_name[table_.name(link)].push_back(link);
  for (const std::string& name : network.failed_links) {
    const auto found = by_name.find(name);
    if (found == by_name.end())
      core::fail_input("failed_links: the fabric of {} has no link '{}', expected a name such as '{}'", cluster_.name,
                       name, first_switch_link_ < table_.links.size() ? table_.name(first_switch_link_) : "(none)");
    for (const std::uint32_t link : found->second) failed_[link] = true;
  }
}

std::uint32_t Fabric::nic_of(std::uint32_t gpu) const {
  return node_of(gpu) * nics_per_node_ + static_cast<std::uint32_t>(cluster_.node.nic_of_gpu[gpu % gpus_per_node_]);
}

std::uint32_t Fabric::gpu_at(std::uint32_t nic, std::uint32_t preferred) const {
  if (nic_of(preferred) == nic) return preferred;
  const std::vector<int>& ports = cluster_.node.nic_of_gpu;
  const auto port = static_cast<int>(nic % nics_per_node_);
  const auto found = std::find(ports.begin(), ports.end(), port);
  return nic / nics_per_node_ * gpus_per_node_ +
         (found == ports.end() ? preferred % gpus_per_node_ : static_cast<std::uint32_t>(found - ports.begin()));
}

std::uint32_t Fabric::nic_towards(std::uint32_t gpu, std::uint32_t to_nic) const {
  const std::uint32_t own = nic_of(gpu);
  const std::uint32_t first = own / nics_per_node_ * nics_per_node_;
  for (std::uint32_t step = 0; step < nics_per_node_; ++step) {
    const std::uint32_t nic = first + (own - first + step) % nics_per_node_;
    if (nic_alive(nic) && topology_->choices(nic, to_nic) > 0) return nic;
  }
  return kNoNic;
}

Fabric::Way Fabric::way(std::uint32_t from, std::uint32_t to) const {
  const std::uint32_t own = nic_of(to);
  const std::uint32_t first = own / nics_per_node_ * nics_per_node_;
  for (std::uint32_t step = 0; step < nics_per_node_; ++step) {
    const std::uint32_t to_nic = first + (own - first + step) % nics_per_node_;
    if (!nic_alive(to_nic)) continue;
    const std::uint32_t from_nic = nic_towards(from, to_nic);
    if (from_nic != kNoNic) return {from_nic, to_nic, gpu_at(from_nic, from), gpu_at(to_nic, to)};
  }
  core::fail_input("{}: no way from GPU {} to GPU {}: no NICs of their nodes are on one plane and alive", cluster_.name,
                   from, to);
}

void Fabric::append_nvlink(std::uint32_t from, std::uint32_t to, std::vector<std::uint32_t>& route) const {
  route.push_back(2 * from);
  route.push_back(2 * to + 1);
}

void Fabric::append_way(const Way& way, std::uint32_t choice, std::vector<std::uint32_t>& route) const {
  const bool pcie = first_nic_link_ > first_pcie_link_;
  if (pcie) route.push_back(first_pcie_link_ + 2 * way.from_gpu);
  route.push_back(first_nic_link_ + 2 * way.from_nic);
  topology_->path(way.from_nic, way.to_nic, choice, route);
  route.push_back(first_nic_link_ + 2 * way.to_nic + 1);
  if (pcie) route.push_back(first_pcie_link_ + 2 * way.to_gpu + 1);
}

}  // namespace lastbit::sim::network

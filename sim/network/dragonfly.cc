// Dragonfly: groups of routers, all of a group joined to each other, every two groups by some global links.
// Source: Kim, Dally, Scott, Abts, "Technology-Driven, Highly-Scalable Dragonfly Topology", ISCA 2008.
#include "sim/network/topology.h"

namespace lastbit::sim::network {
namespace {

// Links: local [group, from, to] within groups (those from a router to itself do not exist and are not counted), then
// global [group, peer, parallel].
class Dragonfly : public Topology {
 public:
  Dragonfly(const cluster::Cluster& cluster, double link_rate, LinkTable& table)
      : nics_(static_cast<std::uint32_t>(cluster.network.nics_per_router)),
        routers_(static_cast<std::uint32_t>(cluster.network.routers_per_group)),
        globals_(static_cast<std::uint32_t>(cluster.network.global_links_per_router)),
        first_(static_cast<std::uint32_t>(table.links.size())) {
    const std::uint32_t per_group = nics_ * routers_;
    groups_ = (static_cast<std::uint32_t>(cluster.nics()) + per_group - 1) / per_group;
    parallel_ = groups_ > 1 ? routers_ * globals_ / (groups_ - 1) : 0;
    const double latency_s = cluster.network.switch_latency_s + cluster.network.cable_latency_s;
    for (std::uint32_t group = 0; group < groups_; ++group)
      for (std::uint32_t from = 0; from < routers_; ++from)
        for (std::uint32_t to = 0; to < routers_; ++to)
          if (from != to) table.add(router(group, from), router(group, to), link_rate, latency_s);
    for (std::uint32_t group = 0; group < groups_; ++group)
      for (std::uint32_t peer = 0; peer < groups_; ++peer)
        for (std::uint32_t i = 0; peer != group && i < parallel_; ++i)
          table.add(router(group, gateway(group, peer, i)), router(peer, gateway(peer, group, i)), link_rate,
                    latency_s);
  }

  [[nodiscard]] std::uint32_t choices(std::uint32_t from, std::uint32_t to) const override {
    return group_of(from) == group_of(to) ? 1 : parallel_;
  }

  void path(std::uint32_t from, std::uint32_t to, std::uint32_t choice,
            std::vector<std::uint32_t>& route) const override {
    const std::uint32_t a = group_of(from);
    const std::uint32_t b = group_of(to);
    if (a == b) return local(a, router_of(from), router_of(to), route);
    local(a, router_of(from), gateway(a, b, choice), route);
    const std::uint32_t peer = b < a ? b : b - 1;
    route.push_back(first_ + groups_ * routers_ * (routers_ - 1) + (a * (groups_ - 1) + peer) * parallel_ + choice);
    local(b, gateway(b, a, choice), router_of(to), route);
  }

  [[nodiscard]] Vertex switch_of(std::uint32_t nic) const override { return router(group_of(nic), router_of(nic)); }

 private:
  [[nodiscard]] static Vertex router(std::uint32_t group, std::uint32_t index) {
    return {VertexKind::kRouter, group, index};
  }
  [[nodiscard]] std::uint32_t group_of(std::uint32_t nic) const { return nic / (nics_ * routers_); }
  [[nodiscard]] std::uint32_t router_of(std::uint32_t nic) const { return nic / nics_ % routers_; }
  // The router of `group` that holds global link `i` to `peer`: ports are given out peer by peer.
  [[nodiscard]] std::uint32_t gateway(std::uint32_t group, std::uint32_t peer, std::uint32_t i) const {
    return ((peer < group ? peer : peer - 1) * parallel_ + i) / globals_;
  }
  void local(std::uint32_t group, std::uint32_t from, std::uint32_t to, std::vector<std::uint32_t>& route) const {
    if (from == to) return;
    route.push_back(first_ + (group * routers_ + from) * (routers_ - 1) + (to < from ? to : to - 1));
  }

  std::uint32_t nics_;     // a router
  std::uint32_t routers_;  // a group
  std::uint32_t globals_;  // global links a router
  std::uint32_t groups_ = 1;
  std::uint32_t parallel_ = 0;  // global links between two groups
  std::uint32_t first_;
};

}  // namespace

std::unique_ptr<Topology> make_dragonfly(const cluster::Cluster& cluster, double link_rate, LinkTable& table) {
  return std::make_unique<Dragonfly>(cluster, link_rate, table);
}

}  // namespace lastbit::sim::network

// Fat trees: leaves below spines, in planes or rails or not, and with a third layer.
#include <algorithm>

#include "sim/network/topology.h"

namespace lastbit::sim::network {
namespace {

std::uint32_t rounded_up(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }

// Where a NIC is: NICs of a node are dealt to the planes in turn, and fill the leaves of a plane node by node.
struct Placement {
  std::uint32_t nics_per_node;
  std::uint32_t planes;
  std::uint32_t nics_per_leaf;

  explicit Placement(const cluster::Cluster& cluster)
      : nics_per_node(static_cast<std::uint32_t>(cluster.node.nics)),
        planes(static_cast<std::uint32_t>(cluster.network.planes)),
        nics_per_leaf(static_cast<std::uint32_t>(cluster.network.nics_per_leaf)) {}

  [[nodiscard]] std::uint32_t plane(std::uint32_t nic) const { return nic % nics_per_node % planes; }
  [[nodiscard]] std::uint32_t leaf(std::uint32_t nic) const {  // within its plane
    const std::uint32_t in_plane = nics_per_node / planes;
    return (nic / nics_per_node * in_plane + nic % nics_per_node / planes) / nics_per_leaf;
  }
  [[nodiscard]] std::uint32_t leaves(std::uint32_t nics) const { return rounded_up(nics / planes, nics_per_leaf); }
};

// Two layers: every leaf has a link, or several as one, to every spine of its plane. In a multi-rail fabric all rails
// share the spines. The links of a plane: up [leaf, spine], then down [spine, leaf].
class FatTree2 : public Topology {
 public:
  FatTree2(const cluster::Cluster& cluster, double link_rate, LinkTable& table)
      : placement_(cluster),
        rails_(cluster.network.kind == cluster::Fabric::kMultiRail),
        across_(rails_ && cluster.network.cross_rail == cluster::CrossRail::kSpine),
        leaves_(placement_.leaves(static_cast<std::uint32_t>(cluster.nics()))),
        spines_(static_cast<std::uint32_t>(cluster.network.spines)),
        first_(static_cast<std::uint32_t>(table.links.size())) {
    for (std::uint32_t nic = 0; nic < static_cast<std::uint32_t>(cluster.nics()); ++nic) {
      plane_.push_back(static_cast<std::uint8_t>(placement_.plane(nic)));
      leaf_.push_back(placement_.leaf(nic) + (rails_ ? placement_.plane(nic) * leaves_ : 0));
    }
    // Rails become one plane whose leaves are those of all rails, rail by rail.
    joined_planes_ = rails_ ? 1 : placement_.planes;
    joined_leaves_ = rails_ ? leaves_ * placement_.planes : leaves_;
    if (joined_leaves_ < 2) return;
    const cluster::Network& network = cluster.network;
    const double capacity = link_rate * network.links_per_spine;
    const double latency_s = network.switch_latency_s + network.cable_latency_s;
    for (std::uint32_t plane = 0; plane < joined_planes_; ++plane) {
      for (std::uint32_t leaf = 0; leaf < joined_leaves_; ++leaf)
        for (std::uint32_t spine = 0; spine < spines_; ++spine)
          table.add(leaf_vertex(plane, leaf), spine_vertex(plane, spine), capacity, latency_s);
      for (std::uint32_t spine = 0; spine < spines_; ++spine)
        for (std::uint32_t leaf = 0; leaf < joined_leaves_; ++leaf)
          table.add(spine_vertex(plane, spine), leaf_vertex(plane, leaf), capacity, latency_s);
    }
  }

  [[nodiscard]] std::uint32_t choices(std::uint32_t from, std::uint32_t to) const override {
    if (plane_[from] != plane_[to] && !across_) return 0;
    return leaf_[from] == leaf_[to] ? 1 : spines_;
  }

  void path(std::uint32_t from, std::uint32_t to, std::uint32_t choice,
            std::vector<std::uint32_t>& route) const override {
    const std::uint32_t up = leaf_[from];
    const std::uint32_t down = leaf_[to];
    if (up == down) return;
    const std::uint32_t plane = rails_ ? 0 : plane_[from];
    const std::uint32_t begin = first_ + 2 * plane * joined_leaves_ * spines_;
    route.push_back(begin + up * spines_ + choice);
    route.push_back(begin + joined_leaves_ * spines_ + choice * joined_leaves_ + down);
  }

  [[nodiscard]] Vertex switch_of(std::uint32_t nic) const override {
    return leaf_vertex(rails_ ? 0 : plane_[nic], leaf_[nic]);
  }

 private:
  [[nodiscard]] Vertex leaf_vertex(std::uint32_t plane, std::uint32_t leaf) const {
    if (rails_) return {VertexKind::kLeaf, leaf / leaves_, leaf % leaves_};
    return {VertexKind::kLeaf, joined_planes_ > 1 ? plane : Vertex::kAlone, leaf};
  }
  [[nodiscard]] Vertex spine_vertex(std::uint32_t plane, std::uint32_t spine) const {
    return {VertexKind::kSpine, joined_planes_ > 1 ? plane : Vertex::kAlone, spine};
  }

  Placement placement_;
  bool rails_;
  bool across_;  // traffic changes rails through the spines
  std::uint32_t leaves_;
  std::uint32_t spines_;
  std::uint32_t first_;
  std::uint32_t joined_planes_ = 1;
  std::uint32_t joined_leaves_ = 1;
  std::vector<std::uint8_t> plane_;  // of each NIC
  std::vector<std::uint32_t> leaf_;  // of each NIC, among the joined ones
};

// Three layers (Al-Fares, Loukissas, Vahdat, "A Scalable, Commodity Data Center Network Architecture", SIGCOMM 2008):
// pods of leaves and spines, spine j of every pod under the same cores. Links: up [leaf, spine], down [leaf, spine],
// then up [pod, spine, core], down [pod, spine, core].
class FatTree3 : public Topology {
 public:
  FatTree3(const cluster::Cluster& cluster, double link_rate, LinkTable& table)
      : placement_(cluster),
        leaves_(placement_.leaves(static_cast<std::uint32_t>(cluster.nics()))),
        leaves_per_pod_(static_cast<std::uint32_t>(std::max(1, cluster.network.switch_radix / 2))),
        spines_(static_cast<std::uint32_t>(cluster.network.spines)),
        cores_(static_cast<std::uint32_t>(std::max(1, cluster.network.switch_radix / 2))),
        pods_(rounded_up(leaves_, leaves_per_pod_)),
        first_(static_cast<std::uint32_t>(table.links.size())) {
    if (leaves_ < 2) return;
    const cluster::Network& network = cluster.network;
    const double leaf_capacity = link_rate * network.links_per_spine;
    const double latency_s = network.switch_latency_s + network.cable_latency_s;
    for (const bool up : {true, false})
      for (std::uint32_t leaf = 0; leaf < leaves_; ++leaf)
        for (std::uint32_t spine = 0; spine < spines_; ++spine)
          add(table, leaf_vertex(leaf), spine_vertex(leaf / leaves_per_pod_, spine), up, leaf_capacity, latency_s);
    if (pods_ < 2) return;
    for (const bool up : {true, false})
      for (std::uint32_t pod = 0; pod < pods_; ++pod)
        for (std::uint32_t spine = 0; spine < spines_; ++spine)
          for (std::uint32_t core = 0; core < cores_; ++core)
            add(table, spine_vertex(pod, spine), {VertexKind::kCore, Vertex::kAlone, spine * cores_ + core}, up,
                link_rate, latency_s);
  }

  [[nodiscard]] std::uint32_t choices(std::uint32_t from, std::uint32_t to) const override {
    const std::uint32_t up = placement_.leaf(from);
    const std::uint32_t down = placement_.leaf(to);
    if (up == down) return 1;
    return up / leaves_per_pod_ == down / leaves_per_pod_ ? spines_ : spines_ * cores_;
  }

  void path(std::uint32_t from, std::uint32_t to, std::uint32_t choice,
            std::vector<std::uint32_t>& route) const override {
    const std::uint32_t up = placement_.leaf(from);
    const std::uint32_t down = placement_.leaf(to);
    if (up == down) return;
    const std::uint32_t up_pod = up / leaves_per_pod_;
    const std::uint32_t down_pod = down / leaves_per_pod_;
    const std::uint32_t spine = choice % spines_;
    const std::uint32_t core = choice / spines_;
    route.push_back(first_ + up * spines_ + spine);
    if (up_pod != down_pod) {
      const std::uint32_t begin = first_ + 2 * leaves_ * spines_;
      route.push_back(begin + (up_pod * spines_ + spine) * cores_ + core);
      route.push_back(begin + ((pods_ + down_pod) * spines_ + spine) * cores_ + core);
    }
    route.push_back(first_ + (leaves_ + down) * spines_ + spine);
  }

  [[nodiscard]] Vertex switch_of(std::uint32_t nic) const override { return leaf_vertex(placement_.leaf(nic)); }

 private:
  static void add(LinkTable& table, const Vertex& low, const Vertex& high, bool up, double capacity, double latency_s) {
    table.add(up ? low : high, up ? high : low, capacity, latency_s);
  }
  [[nodiscard]] Vertex leaf_vertex(std::uint32_t leaf) const {
    return {VertexKind::kLeaf, leaf / leaves_per_pod_, leaf % leaves_per_pod_};
  }
  [[nodiscard]] static Vertex spine_vertex(std::uint32_t pod, std::uint32_t spine) {
    return {VertexKind::kSpine, pod, spine};
  }

  Placement placement_;
  std::uint32_t leaves_;
  std::uint32_t leaves_per_pod_;
  std::uint32_t spines_;  // a pod
  std::uint32_t cores_;   // above a spine
  std::uint32_t pods_;
  std::uint32_t first_;
};

}  // namespace

std::unique_ptr<Topology> make_fat_tree_2(const cluster::Cluster& cluster, double link_rate, LinkTable& table) {
  return std::make_unique<FatTree2>(cluster, link_rate, table);
}

std::unique_ptr<Topology> make_fat_tree_3(const cluster::Cluster& cluster, double link_rate, LinkTable& table) {
  return std::make_unique<FatTree3>(cluster, link_rate, table);
}

}  // namespace lastbit::sim::network

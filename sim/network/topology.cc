#include "sim/network/topology.h"

#include "core/error.h"

namespace lastbit::sim::network {
namespace {

class SingleSwitch : public Topology {
 public:
  [[nodiscard]] std::uint32_t choices(std::uint32_t, std::uint32_t) const override { return 1; }
  void path(std::uint32_t, std::uint32_t, std::uint32_t, std::vector<std::uint32_t>&) const override {}
  [[nodiscard]] Vertex switch_of(std::uint32_t) const override { return {VertexKind::kLeaf, Vertex::kAlone, 0}; }
};

}  // namespace

std::unique_ptr<Topology> make_topology(const cluster::Cluster& cluster, double link_rate, LinkTable& table) {
  switch (cluster.network.kind) {
    case cluster::Fabric::kSingleSwitch:
      return std::make_unique<SingleSwitch>();
    case cluster::Fabric::kFatTree2:
    case cluster::Fabric::kMultiPlaneFatTree2:
    case cluster::Fabric::kMultiRail:
    case cluster::Fabric::kNvlinkRackIb:
      return make_fat_tree_2(cluster, link_rate, table);
    case cluster::Fabric::kFatTree3:
      return make_fat_tree_3(cluster, link_rate, table);
    case cluster::Fabric::kDragonfly:
      return make_dragonfly(cluster, link_rate, table);
  }
  core::fail_input("{}: unknown fabric", cluster.name);
}

}  // namespace lastbit::sim::network

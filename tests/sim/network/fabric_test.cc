#include "sim/network/fabric.h"

#include <gtest/gtest.h>

#include <set>

#include "core/error.h"
#include "sim/network/drawing.h"
#include "sim/network/inventory.h"
#include "sim/network/router.h"

namespace lastbit::sim::network {
namespace {

cluster::Cluster h800(std::vector<std::string> settings) {
  for (std::string& setting : settings) setting = "cluster." + setting;
  return cluster::load_cluster("h800-2048", cluster::parse_overrides(settings));
}

// Every fabric, small, with a shape that has all kinds of paths.
std::vector<std::vector<std::string>> small_fabrics() {
  const std::string nodes = "nodes=24";
  return {{nodes, "network.fabric=single-switch", "network.planes=1", "network.switch_radix=256"},
          {nodes, "network.fabric=fat-tree-2", "network.planes=1"},
          {nodes, "network.fabric=fat-tree-2", "network.planes=1", "network.switch_radix=32", "node.pcie=64 GB/s"},
          {nodes, "network.fabric=fat-tree-3", "network.planes=1", "network.switch_radix=16"},
          {nodes, "network.switch_radix=8"},
          {nodes, "network.switch_radix=8", "network.planes=4", "node.nics=4"},
          {nodes, "network.fabric=multi-rail", "network.nodes_per_leaf=8"},
          {nodes, "network.fabric=multi-rail", "network.nodes_per_leaf=8", "network.cross_rail=spine"},
          {nodes, "network.fabric=dragonfly", "network.planes=1", "network.switch_radix=15"},
          {"nodes=3", "node.gpus=72", "network.fabric=nvlink-rack-ib", "network.planes=1"}};
}

TEST(Fabric, HasThePublishedNumbersOfSwitchesAndLinks) {
  // Insights into DeepSeek-V3, arXiv 2505.09343, table 3: FT2, MPFT, FT3 of 64-port switches.
  const Inventory two = take_inventory(Fabric(h800({"network.fabric=fat-tree-2", "network.planes=1"}), Rates::kPeak));
  EXPECT_EQ(two.switches(), 96U);
  EXPECT_EQ(two.switch_cables, 2048U);
  const Inventory planes = take_inventory(Fabric(h800({"nodes=2048"}), Rates::kPeak));
  EXPECT_EQ(planes.switches(), 768U);
  EXPECT_EQ(planes.switch_cables, 16384U);
  const Inventory three =
      take_inventory(Fabric(h800({"nodes=8192", "network.fabric=fat-tree-3", "network.planes=1"}), Rates::kPeak));
  EXPECT_EQ(three.switches(), 5120U);
  EXPECT_EQ(three.switch_cables, 131072U);
}

TEST(Fabric, RoutesAreUnbrokenInEveryFabricByEveryRouting) {
  for (std::vector<std::string> settings : small_fabrics()) {
    for (const std::string routing : {"ecmp", "static", "adaptive"}) {
      settings.push_back("network.routing=" + routing);
      const Fabric fabric(h800(settings), Rates::kAttainable);
      Router router(fabric);
      std::vector<std::uint32_t> route;
      for (std::uint32_t from = 0; from < fabric.num_gpus(); from += 5) {
        for (std::uint32_t to = 0; to < fabric.num_gpus(); to += 3) {
          router.route(from, to, 1, route);
          if (from == to) continue;
          const LinkTable& table = fabric.table();
          EXPECT_TRUE(table.from[route.front()].index == from || table.from[route.front()].kind == VertexKind::kNic);
          for (std::size_t i = 1; i < route.size(); ++i) {
            const Vertex& end = table.to[route[i - 1]];
            const Vertex& next = table.from[route[i]];
            // A GPU hands over to its NIC, and takes from it.
            const bool through_pcie = end.kind == VertexKind::kGpu &&
                                      next == Vertex{VertexKind::kNic, Vertex::kAlone, fabric.nic_of(end.index)};
            const bool to_gpu =
                end.kind == VertexKind::kNic && next.kind == VertexKind::kGpu && fabric.nic_of(next.index) == end.index;
            EXPECT_TRUE(end == next || through_pcie || to_gpu)
                << fabric.cluster().network.fabric << " " << from << " to " << to << " link " << i;
          }
          EXPECT_EQ(std::set<std::uint32_t>(route.begin(), route.end()).size(), route.size());
        }
      }
    }
  }
}

TEST(Fabric, LatencyIsThePublishedOneAcrossLeavesAndBelowOne) {
  const Fabric fabric(h800({}), Rates::kAttainable);
  Router router(fabric);
  std::vector<std::uint32_t> route;
  router.route(0, 2040, 1, route);
  EXPECT_NEAR(route_latency(fabric.links(), route), 3.7e-6, 1e-15);
  router.route(0, 8, 1, route);
  EXPECT_NEAR(route_latency(fabric.links(), route), 2.8e-6, 1e-15);
  router.route(0, 1, 1, route);
  EXPECT_NEAR(route_latency(fabric.links(), route), 3.33e-6, 1e-15);
}

TEST(Fabric, ChangesPlanesOverNvlink) {
  const Fabric fabric(h800({}), Rates::kAttainable);
  Router router(fabric);
  std::vector<std::uint32_t> route;
  router.route(0, 9, 1, route);
  std::vector<std::string> names;
  for (const std::uint32_t link : route) names.push_back(fabric.table().name(link));
  EXPECT_EQ(names, (std::vector<std::string>{"nvup0", "nvdn1", "nicup1", "nicdn9"}));
}

TEST(Fabric, GoesRoundFailedLinksAndNics) {
  const Fabric fabric(h800({"network.failed_nics=[0,9]", R"(network.failed_links=["p1l0->p1s0","p1s4->p1l7"])",
                            "network.routing=static"}),
                      Rates::kAttainable);
  Router router(fabric);
  std::vector<std::uint32_t> route;
  for (std::uint32_t from = 0; from < 16; ++from) {
    for (std::uint32_t to = 0; to < 2048; to += 7) {
      router.route(from, to, 1, route);
      for (const std::uint32_t link : route) EXPECT_TRUE(fabric.alive(link));
    }
  }
}

TEST(Fabric, RefusesWhatFailuresCutOff) {
  // Two leaves a plane, two spines: each leaf loses another spine.
  const std::vector<std::string> settings{"nodes=8", "network.switch_radix=8", "network.spines=2",
                                          R"(network.failed_links=["p0l0->p0s0","p0s1->p0l1"])"};
  const Fabric fabric(h800(settings), Rates::kAttainable);
  Router router(fabric);
  std::vector<std::uint32_t> route;
  EXPECT_NO_THROW(router.route(1, 57, 1, route));
  try {
    router.route(0, 56, 1, route);
    FAIL() << "found a way";
  } catch (const core::Error& error) {
    EXPECT_EQ(core::exit_code(error.kind()), 2);
    EXPECT_NE(std::string(error.what()).find("no path from NIC 0 to NIC 56"), std::string::npos);
  }
  EXPECT_THROW(router.route(0, 64, 1, route), core::Error);
  EXPECT_THROW(Fabric(h800({R"(network.failed_links=["l0->s0"])"}), Rates::kPeak), core::Error);
  EXPECT_THROW((void)h800({"network.failed_nics=[8,9,10,11,12,13,14,15]"}), core::Error);
}

TEST(Fabric, DrawsEveryFabric) {
  for (const std::vector<std::string>& settings : small_fabrics()) {
    const std::string svg = draw_svg(Fabric(h800(settings), Rates::kAttainable));
    EXPECT_TRUE(svg.starts_with("<svg ")) << settings[1];
    EXPECT_TRUE(svg.ends_with("</svg>\n"));
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
  }
  EXPECT_NE(draw_svg(Fabric(h800({"network.failed_nics=[3]"}), Rates::kPeak)).find("#cc2222"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::sim::network

#include "sim/cluster/cluster.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace lastbit::sim::cluster {
namespace {

std::string refused(const std::string& name, const std::vector<std::string>& settings) {
  try {
    (void)load_cluster(name, parse_overrides(settings));
  } catch (const core::Error& error) {
    EXPECT_EQ(core::exit_code(error.kind()), 2);
    return error.what();
  }
  return "";
}

TEST(Cluster, EveryPresetLoadsUnderItsOwnName) {
  const std::vector<std::string> names = description_names("clusters");
  EXPECT_FALSE(names.empty());
  for (const std::string& name : names) EXPECT_EQ(load_cluster(name).name, name);
}

TEST(Cluster, PublishedFiguresOfTheTrainingCluster) {
  const Cluster cluster = load_cluster("h800-2048");
  EXPECT_EQ(cluster.gpus(), 2048);
  EXPECT_EQ(cluster.gpu.sms, 132);
  EXPECT_DOUBLE_EQ(cluster.gpu.bf16_flops, 989e12);
  EXPECT_DOUBLE_EQ(cluster.network.nic_peak, 50e9);
  EXPECT_DOUBLE_EQ(cluster.node.nvlink_attainable, 160e9);
}

TEST(Cluster, RefusesInOneLine) {
  EXPECT_NE(refused("h800-2084", {}).find("did you mean 'h800-2048'"), std::string::npos);
  EXPECT_NE(refused("h800-2048", {"cluster.gpu.hbm_bandwith=3 TB/s"}).find("hbm_bandwidth"), std::string::npos);
  EXPECT_NE(refused("h800-2048", {"cluster.network.nic_peak=400"}).find("has no unit"), std::string::npos);
  EXPECT_NE(refused("h800-2048", {"cluster.network.nic_attainable=60 GB/s"}).find("at most the peak"),
            std::string::npos);
  EXPECT_NE(refused("h800-2048", {"cluster.nodes=0"}).find("nodes"), std::string::npos);
}

}  // namespace
}  // namespace lastbit::sim::cluster

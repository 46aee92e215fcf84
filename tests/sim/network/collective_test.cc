#include "sim/network/collective.h"

#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "core/error.h"
#include "core/philox.h"
#include "sim/network/expert_parallel.h"
#include "sim/network/ranks.h"
#include "support/shared.h"

namespace lastbit::sim::network {
namespace {

Fabric h800(std::vector<std::string> settings, Rates rates = Rates::kPeak) {
  for (std::string& setting : settings) setting = "cluster." + setting;
  return Fabric(cluster::load_cluster("h800-2048", cluster::parse_overrides(settings)), rates);
}

CollectiveTime time_of(const Fabric& fabric, const Collective& collective, const std::string& ranks,
                       const std::string& groups = "1") {
  Router router(fabric);
  return run_phases(fabric, collective_phases(collective, parse_groups(ranks, groups, fabric), fabric, router), {});
}

constexpr double kNvlink = 200e9;
constexpr double kNvlinkLatency = 3.33e-6;
constexpr double kNic = 50e9;

TEST(Collective, AgreesWithClosedFormsInsideANode) {
  using enum CollectiveKind;
  const Fabric fabric = h800({});
  const double bytes = 1e9;
  const double share_s = bytes / 8 / kNvlink;
  EXPECT_NEAR(time_of(fabric, {kAllToAll, Algorithm::kFlat, bytes}, "8").seconds, 7 * share_s + kNvlinkLatency, 1e-12);
  EXPECT_NEAR(time_of(fabric, {kAllGather, Algorithm::kRing, bytes}, "8").seconds, 7 * (share_s + kNvlinkLatency),
              1e-12);
  EXPECT_NEAR(time_of(fabric, {kAllReduce, Algorithm::kRing, bytes}, "8").seconds, 14 * (share_s + kNvlinkLatency),
              1e-12);
  EXPECT_NEAR(time_of(fabric, {kBroadcast, Algorithm::kFlat, bytes}, "8").seconds, 7 * bytes / kNvlink + kNvlinkLatency,
              1e-12);
  EXPECT_NEAR(time_of(fabric, {kP2p, Algorithm::kFlat, bytes}, "8").seconds, bytes / kNvlink + kNvlinkLatency, 1e-12);
  // Every GPU hands over its buffer once and takes the sum once.
  EXPECT_NEAR(time_of(fabric, {kAllReduce, Algorithm::kNvls, bytes}, "8").seconds,
              2 * (bytes / kNvlink + kNvlinkLatency / 2), 1e-12);
}

TEST(Collective, AllToAllAcrossNodesIsBoundByTheNic) {
  const Fabric fabric = h800({});
  const double bytes = 64e6;
  const CollectiveTime time = time_of(fabric, {CollectiveKind::kAllToAll, Algorithm::kFlat, bytes}, "64", "all");
  // 56 of 64 shares leave by a NIC, most of them by way of another GPU.
  EXPECT_NEAR(time.seconds, bytes * 56 / 64 / kNic, 10e-6);
  EXPECT_EQ(time.flows, 129024U);
}

TEST(Collective, AnotherTopologyGivesAnotherAnswer) {
  const Collective all{CollectiveKind::kAllToAll, Algorithm::kFlat, 64e6};
  const auto seconds = [&](std::vector<std::string> settings) {
    settings.insert(settings.end(), {"nodes=8", "network.switch_radix=16"});
    return time_of(h800(settings), all, "64").seconds;
  };
  const double planes = seconds({});
  const double tree = seconds({"network.fabric=fat-tree-2", "network.planes=1"});
  const double tapered = seconds({"network.fabric=fat-tree-2", "network.planes=1", "network.oversubscription=3"});
  const double adaptive = seconds(
      {"network.fabric=fat-tree-2", "network.planes=1", "network.oversubscription=3", "network.routing=adaptive"});
  const double dragonfly = seconds({"network.fabric=dragonfly", "network.planes=1"});
  const double failed = seconds({"network.failed_nics=[0,1,2,3]"});
  EXPECT_GT(tree, planes);  // hashes collide on spines that one leaf a plane does not need
  EXPECT_GT(tapered, 1.5 * tree);
  EXPECT_LT(adaptive, tapered);
  EXPECT_GT(dragonfly, planes);
  EXPECT_GT(failed, planes);
}

TEST(Collective, RefusesWhatItCannotDo) {
  const Fabric fabric = h800({});
  const auto refused = [&](const Collective& collective, const std::string& ranks) {
    EXPECT_THROW((void)time_of(fabric, collective, ranks), core::Error) << ranks;
  };
  refused({CollectiveKind::kAllToAll, Algorithm::kFlat, 1}, "1");
  refused({CollectiveKind::kAllToAll, Algorithm::kFlat, 1}, "0-3,2");
  refused({CollectiveKind::kP2p, Algorithm::kFlat, 1}, "3");
  refused({CollectiveKind::kAllReduce, Algorithm::kNvls, 1}, "12");
  EXPECT_THROW((void)parse_algorithm("nvls", CollectiveKind::kAllToAll), core::Error);
  EXPECT_THROW((void)parse_collective("alltoal"), core::Error);
}

ExpertParallel v3(DispatchMode mode, double kept_groups) {
  ExpertParallel setting;
  setting.mode = mode;
  setting.tokens = 4096;
  setting.token_bytes = token_bytes(7168, "fp8");
  setting.routing = {.experts = 256, .groups = 8, .kept_groups = kept_groups, .top_k = 8};
  return setting;
}

// Bytes that leave the NIC of rank 0.
double nic_bytes(const ExpertParallel& setting, const Fabric& fabric) {
  Router router(fabric);
  const Phase phase = expert_parallel_phase(setting, parse_groups("64", "1", fabric), fabric, router);
  return run_phases(fabric, {phase}, {}).link_bytes[fabric.first_nic_link()];
}

TEST(ExpertParallelFlows, CrossTheNicAsOftenAsTheClosedFormSays) {
  const Fabric fabric = h800({});
  for (const double kept : {2.0, 4.0, 8.0}) {
    for (const DispatchMode mode : {DispatchMode::kForwarded, DispatchMode::kFlat, DispatchMode::kLowLatency}) {
      const ExpertParallel setting = v3(mode, kept);
      const double expected = nic_copies_per_token(setting, 64, 8) * setting.tokens * setting.token_bytes;
      EXPECT_NEAR(nic_bytes(setting, fabric) / expected, 1, 1e-12);
    }
  }
  // Eight experts in eight nodes with a limit of four: hardly less than 4 nodes, an eighth of them the own.
  EXPECT_NEAR(nic_copies_per_token(v3(DispatchMode::kForwarded, 4), 64, 8), 4 * 7.0 / 8, 0.35);
}

TEST(ExpertParallelFlows, ClosedFormIsWhatDrawingExpertsGives) {
  const core::RandomStream stream(7, "routing");
  std::uint64_t drawn = 0;
  const auto below = [&](std::uint32_t limit) { return stream.word(drawn++) % limit; };
  for (const std::uint32_t kept : {4U, 8U}) {
    constexpr int kTokens = 20000;
    double nodes = 0;
    for (int token = 0; token < kTokens; ++token) {
      std::uint32_t groups = 0;
      while (static_cast<std::uint32_t>(std::popcount(groups)) < kept) groups |= 1U << below(8);
      std::set<std::uint32_t> experts;
      while (experts.size() < 8) {
        const std::uint32_t expert = below(256);
        if ((groups >> (expert / 32) & 1U) != 0) experts.insert(expert);
      }
      std::uint32_t visited = 0;
      for (const std::uint32_t expert : experts) visited |= 1U << (expert / 32);
      nodes += std::popcount(visited & ~1U);  // the token's own node is node 0
    }
    EXPECT_NEAR(nodes / kTokens, nic_copies_per_token(v3(DispatchMode::kForwarded, kept), 64, 8), 0.03);
  }
}

TEST(ExpertParallelFlows, CombineIsDispatchTurnedRound) {
  const Fabric fabric = h800({});
  ExpertParallel setting = v3(DispatchMode::kForwarded, 4);
  Router router(fabric);
  const Groups groups = parse_groups("64", "all", fabric);
  const double there = run_phases(fabric, {expert_parallel_phase(setting, groups, fabric, router)}, {}).seconds;
  setting.combine = true;
  const double back = run_phases(fabric, {expert_parallel_phase(setting, groups, fabric, router)}, {}).seconds;
  EXPECT_NEAR(back / there, 1, 0.01);
}

// Bandwidths that DeepEP publishes, from the figures of the cluster description alone (docs/network.md).
TEST(ExpertParallelFlows, ComeNearDeepEpsBandwidths) {
  LASTBIT_NEEDS_SHARED();
  std::ifstream stream(testing::shared_path("groundtruth/deepep.json"));
  const nlohmann::json published = nlohmann::json::parse(stream);
  const Fabric fabric = h800({}, Rates::kMessages);
  const auto bandwidth = [&](ExpertParallel setting, std::size_t ranks) {
    Router router(fabric);
    const std::size_t nodes = std::max<std::size_t>(1, ranks / 8);
    if (setting.mode == DispatchMode::kForwarded) {  // as DeepEP's test draws: a group a node, 4 of them kept
      setting.routing.groups = static_cast<double>(nodes);
      setting.routing.kept_groups = std::min(4.0, setting.routing.groups);
    }
    setting.token_bytes = token_bytes(7168, setting.combine ? "bf16" : "fp8");
    const Groups groups = parse_groups(std::to_string(ranks), "1", fabric);
    const double seconds = run_phases(fabric, {expert_parallel_phase(setting, groups, fabric, router)}, {}).seconds;
    return setting.tokens * setting.token_bytes * logical_copies_per_token(setting, ranks, nodes) / seconds * 1e-9;
  };
  for (const nlohmann::json& row : published.at("normal_current")) {
    ExpertParallel setting = v3(DispatchMode::kForwarded, 4);
    setting.own_copies = true;
    const auto ranks = row.at("EP").get<std::size_t>();
    EXPECT_NEAR(bandwidth(setting, ranks) / row.at("dispatch_GBps").get<double>(), 1, 0.15) << "dispatch, EP " << ranks;
    setting.combine = true;
    EXPECT_NEAR(bandwidth(setting, ranks) / row.at("combine_GBps").get<double>(), 1, 0.15) << "combine, EP " << ranks;
  }
}

}  // namespace
}  // namespace lastbit::sim::network

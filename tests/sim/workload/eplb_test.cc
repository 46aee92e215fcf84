#include "sim/workload/eplb.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "sim/workload/expert_load.h"
#include "support/shared.h"

namespace lastbit::sim::workload {
namespace {

std::string refusal(const std::vector<double>& loads, const EplbParams& params, EplbPolicy policy) {
  try {
    static_cast<void>(eplb_placement(loads, params, policy));
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  return "accepted";
}

TEST(Eplb, EqualsThePublishedPlacements) {
  LASTBIT_NEEDS_SHARED();
  std::ifstream stream(testing::shared_path("groundtruth/eplb.json"));
  const nlohmann::json file = nlohmann::json::parse(stream);
  ASSERT_GE(file.at("cases").size(), 3u);
  for (const nlohmann::json& golden : file.at("cases")) {
    const EplbParams params{golden.at("num_replicas"), golden.at("num_groups"), golden.at("num_nodes"),
                            golden.at("num_gpus")};
    for (std::size_t layer = 0; layer < golden.at("weight").size(); ++layer) {
      SCOPED_TRACE(golden.at("name").get<std::string>() + ", layer " + std::to_string(layer));
      const auto loads = golden.at("weight")[layer].get<std::vector<double>>();
      const Placement placement = eplb_placement(loads, params);
      EXPECT_EQ(placement.slot_expert, golden.at("physical_to_logical")[layer].get<std::vector<std::int32_t>>());
      std::vector<std::size_t> counts;
      for (const auto& slots : placement.expert_slots) counts.push_back(slots.size());
      EXPECT_EQ(counts, golden.at("logical_count")[layer].get<std::vector<std::size_t>>());
      const std::vector<double> sums = gpu_loads(placement, loads);
      EXPECT_EQ(*std::max_element(sums.begin(), sums.end()), golden.at("max_gpu_load_per_layer")[layer].get<double>());
    }
  }
}

TEST(Eplb, RefusesCountsWithTheRuleTheyBreak) {
  const std::vector<double> loads(12, 1.0);
  const auto refused = [&loads](const EplbParams& params, const std::string& part,
                                EplbPolicy policy = EplbPolicy::kAuto) {
    EXPECT_NE(refusal(loads, params, policy).find(part), std::string::npos) << refusal(loads, params, policy);
  };
  refused({11, 4, 2, 1}, "found 11 replicas, expected 12 (one for each expert)");
  refused({16, 4, 2, 6}, "16 replicas do not divide evenly among 6 GPUs");
  refused({18, 4, 2, 9}, "9 GPUs do not divide evenly among 2 nodes");
  refused({16, 8, 4, 8}, "12 experts do not divide evenly among 8 groups");
  refused({16, 4, 8, 8}, "4 groups do not divide evenly among 8 nodes", EplbPolicy::kHierarchical);
  refused({16, 4, 2, 0}, "found 0 GPUs");
  EXPECT_EQ(refusal(loads, {16, 4, 8, 8}, EplbPolicy::kGlobal), "accepted");
  EXPECT_NE(refusal({1, -1}, {2, 1, 1, 1}, EplbPolicy::kAuto).find("load of expert 1 is -1"), std::string::npos);
  EXPECT_NE(refusal({}, {2, 1, 1, 1}, EplbPolicy::kAuto).find("0 experts"), std::string::npos);
}

RC_GTEST_PROP(Eplb, EveryExpertHasItsReplicasAndGroupsStayOnOneNode, ()) {
  EplbParams params;
  params.nodes = *rc::gen::inRange(1, 4);
  params.gpus = params.nodes * *rc::gen::inRange(1, 4);
  params.groups = params.nodes * *rc::gen::inRange(1, 4);
  const int experts = params.groups * *rc::gen::inRange(1, 5);
  params.replicas = (experts + params.gpus - 1) / params.gpus * params.gpus + params.gpus * *rc::gen::inRange(0, 3);
  std::vector<double> loads;
  for (int e = 0; e < experts; ++e) loads.push_back(*rc::gen::inRange(0, 50));
  const Placement placement = eplb_placement(loads, params);
  RC_ASSERT(placement.slots() == params.replicas);
  std::size_t replicas = 0;
  for (std::int32_t e = 0; e < experts; ++e) {
    const auto& slots = placement.expert_slots[static_cast<std::size_t>(e)];
    RC_ASSERT(!slots.empty());
    replicas += slots.size();
    const std::int32_t group = e / (experts / params.groups);
    const auto first = static_cast<std::size_t>(group * (experts / params.groups));
    const std::int32_t node = placement.node_of_gpu(placement.gpu_of(placement.expert_slots[first].front()));
    for (const std::int32_t slot : slots) {
      RC_ASSERT(placement.slot_expert[static_cast<std::size_t>(slot)] == e);
      RC_ASSERT(placement.node_of_gpu(placement.gpu_of(slot)) == node);
    }
  }
  RC_ASSERT(replicas == static_cast<std::size_t>(params.replicas));
}

TEST(Eplb, MoreReplicasNeverRaiseTheBusiestShare) {
  const std::vector<double> loads = zipf_loads(64, 0.8, 3);
  double last = 1e9;
  for (int replicas = 64; replicas <= 128; replicas += 8) {
    const double factor = load_factor(gpu_loads(eplb_placement(loads, {replicas, 1, 1, 8}), loads));
    EXPECT_LE(factor, last * 1.02) << replicas;
    last = factor;
  }
  EXPECT_LT(last, 1.1);
}

}  // namespace
}  // namespace lastbit::sim::workload

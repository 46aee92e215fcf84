#include "sim/workload/eplb.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace lastbit::sim::workload {
namespace {

using Index = std::int32_t;

std::size_t at(Index index) { return static_cast<std::size_t>(index); }

// Items packed into equally full packs.
struct Packing {
  std::vector<Index> pack;   // [items]
  std::vector<Index> place;  // [items] within the pack
};

// The heaviest item first, each to the lightest pack that has room.
Packing pack_evenly(const std::vector<float>& weights, Index packs) {
  const auto items = static_cast<Index>(weights.size());
  const Index room = items / packs;
  Packing packing{std::vector<Index>(weights.size()), std::vector<Index>(weights.size(), 0)};
  if (room == 1) {
    std::iota(packing.pack.begin(), packing.pack.end(), 0);
    return packing;
  }
  // Not a stable sort: the reference's is libstdc++'s introsort inside PyTorch, whose order of equal weights the
  // published placements show; the same sort on the same weights gives the same order.
  std::vector<Index> order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](Index a, Index b) { return weights[at(a)] > weights[at(b)]; });
  std::vector<float> sums(at(packs), 0);
  std::vector<Index> filled(at(packs), 0);
  for (const Index item : order) {
    Index lightest = -1;
    for (Index pack = 0; pack < packs; ++pack) {
      if (filled[at(pack)] < room && (lightest < 0 || sums[at(pack)] < sums[at(lightest)])) lightest = pack;
    }
    packing.pack[at(item)] = lightest;
    packing.place[at(item)] = filled[at(lightest)]++;
    sums[at(lightest)] += weights[at(item)];
  }
  return packing;
}

// Replicas of items: the first of each, then one more for whichever carries most a replica.
struct Replicas {
  std::vector<Index> item;   // [replicas]
  std::vector<Index> rank;   // [replicas] 0 for the first of its item
  std::vector<Index> count;  // [items]
};

Replicas replicate(const std::vector<float>& weights, Index total) {
  const auto items = static_cast<Index>(weights.size());
  Replicas replicas{std::vector<Index>(weights.size()), std::vector<Index>(weights.size(), 0),
                    std::vector<Index>(weights.size(), 1)};
  std::iota(replicas.item.begin(), replicas.item.end(), 0);
  std::vector<float> shares = weights;
  for (Index i = items; i < total; ++i) {
    const auto most = static_cast<Index>(std::max_element(shares.begin(), shares.end()) - shares.begin());
    replicas.item.push_back(most);
    replicas.rank.push_back(replicas.count[at(most)]++);
    shares[at(most)] = weights[at(most)] / static_cast<float>(replicas.count[at(most)]);
  }
  return replicas;
}

void check_params(std::size_t experts, const EplbParams& params, EplbPolicy policy) {
  const auto refuse_below_one = [](const char* what, int count) {
    if (count < 1) core::fail_input("eplb: found {} {}, expected at least 1", count, what);
  };
  refuse_below_one("replicas", params.replicas);
  refuse_below_one("groups", params.groups);
  refuse_below_one("nodes", params.nodes);
  refuse_below_one("GPUs", params.gpus);
  const auto refuse_uneven = [](std::size_t count, const char* what, int parts, const char* of) {
    if (count % static_cast<std::size_t>(parts) != 0)
      core::fail_input("eplb: {} {} do not divide evenly among {} {}, expected a multiple", count, what, parts, of);
  };
  constexpr std::size_t kMost = 1 << 16;
  if (experts < 1 || experts > kMost) core::fail_input("eplb: found {} experts, expected 1 to {}", experts, kMost);
  if (static_cast<std::size_t>(params.replicas) < experts || params.replicas > static_cast<int>(kMost)) {
    core::fail_input("eplb: found {} replicas, expected {} (one for each expert) to {}", params.replicas, experts,
                     kMost);
  }
  refuse_uneven(static_cast<std::size_t>(params.replicas), "replicas", params.gpus, "GPUs");
  if (!eplb_is_hierarchical(params, policy)) return;
  refuse_uneven(static_cast<std::size_t>(params.gpus), "GPUs", params.nodes, "nodes");
  refuse_uneven(experts, "experts", params.groups, "groups");
  refuse_uneven(static_cast<std::size_t>(params.groups), "groups", params.nodes, "nodes");
}

// In the reference's terms: experts are renumbered so that those of a node follow one another ("mlog").
class Rebalance {
 public:
  Rebalance(std::vector<float> weights, const EplbParams& params)
      : weights_(std::move(weights)), params_(params), experts_(static_cast<Index>(weights_.size())) {}

  Placement run() && {
    order_by_node();
    Placement placement;
    placement.nodes = params_.nodes;
    placement.gpus = params_.gpus;
    placement.slot_expert.assign(at(params_.replicas), 0);
    placement.expert_slots.resize(weights_.size());
    for (Index node = 0; node < params_.nodes; ++node) place_node(node, placement);
    return placement;
  }

 private:
  void order_by_node() {
    const Index group_size = experts_ / params_.groups;
    std::vector<float> group_weights(at(params_.groups), 0);
    for (Index e = 0; e < experts_; ++e) group_weights[at(e / group_size)] += weights_[at(e)];
    const Packing packing = pack_evenly(group_weights, params_.nodes);
    const Index groups_per_node = params_.groups / params_.nodes;
    by_node_.resize(weights_.size());
    for (Index e = 0; e < experts_; ++e) {
      const Index group = e / group_size;
      const Index place = packing.pack[at(group)] * groups_per_node + packing.place[at(group)];
      by_node_[at(place * group_size + e % group_size)] = e;
    }
  }

  // Replicas of one node's experts, then those to the node's GPUs.
  void place_node(Index node, Placement& placement) const {
    const Index node_experts = experts_ / params_.nodes;
    const Index node_slots = params_.replicas / params_.nodes;
    const Index node_gpus = params_.gpus / params_.nodes;
    const Index* experts = by_node_.data() + node * node_experts;
    std::vector<float> weights(at(node_experts));
    for (Index i = 0; i < node_experts; ++i) weights[at(i)] = weights_[at(experts[i])];
    const Replicas replicas = replicate(weights, node_slots);
    std::vector<float> shares(at(node_slots));
    for (Index i = 0; i < node_slots; ++i) {
      const Index item = replicas.item[at(i)];
      shares[at(i)] = weights[at(item)] / static_cast<float>(replicas.count[at(item)]);
    }
    const Packing packing = pack_evenly(shares, node_gpus);
    for (Index i = 0; i < node_slots; ++i) {  // in order of an expert's replicas
      const Index expert = experts[replicas.item[at(i)]];
      const Index slot = node * node_slots + packing.pack[at(i)] * (node_slots / node_gpus) + packing.place[at(i)];
      placement.slot_expert[at(slot)] = expert;
      placement.expert_slots[at(expert)].push_back(slot);
    }
  }

  std::vector<float> weights_;
  EplbParams params_;
  Index experts_;
  std::vector<Index> by_node_;  // [experts] the experts of node 0, then of node 1, ...
};

}  // namespace

bool eplb_is_hierarchical(const EplbParams& params, EplbPolicy policy) {
  return policy == EplbPolicy::kHierarchical || (policy == EplbPolicy::kAuto && params.groups % params.nodes == 0);
}

Placement eplb_placement(const std::vector<double>& loads, const EplbParams& params, EplbPolicy policy) {
  check_params(loads.size(), params, policy);
  std::vector<float> weights;
  weights.reserve(loads.size());
  for (std::size_t e = 0; e < loads.size(); ++e) {
    constexpr double kMostLoad = 1e30;  // sums of a million stay finite in FP32
    if (!(loads[e] >= 0 && loads[e] <= kMostLoad))
      core::fail_input("eplb: the load of expert {} is {}, expected a number from 0 to {}", e, loads[e], kMostLoad);
    weights.push_back(static_cast<float>(loads[e]));
  }
  EplbParams used = params;
  if (!eplb_is_hierarchical(params, policy)) {
    used.groups = 1;
    used.nodes = 1;
  }
  Placement placement = Rebalance(std::move(weights), used).run();
  placement.nodes = params.gpus % params.nodes == 0 ? params.nodes : 1;
  return placement;
}

}  // namespace lastbit::sim::workload

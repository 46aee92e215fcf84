#include "sim/network/expert_parallel.h"

#include <algorithm>

#include "core/error.h"
#include "core/suggest.h"
#include "sim/network/ranks.h"

namespace lastbit::sim::network {
namespace {

// How a group lies on nodes.
struct Layout {
  std::size_t ranks;
  std::size_t nodes;
  [[nodiscard]] std::size_t local() const { return ranks / nodes; }
};

// Ranks of a node follow each other in a group, and every node has as many.
Layout layout_of(const std::vector<std::uint32_t>& group, const Fabric& fabric) {
  const std::size_t nodes = nodes_of(group, fabric);
  const Layout layout{group.size(), nodes};
  bool even = group.size() % nodes == 0;
  for (std::size_t i = 0; even && i < group.size(); ++i)
    even = fabric.node_of(group[i]) == fabric.node_of(group[i / layout.local() * layout.local()]);
  if (!even)
    core::fail_input(
        "ranks: found a group of {} GPUs over {} stretches of nodes, expected as many GPUs on every node, "
        "node by node",
        group.size(), nodes);
  return layout;
}

workload::RoutingShape shape_of(const ExpertParallel& setting, const Layout& layout) {
  workload::RoutingShape shape = setting.routing;
  shape.expert_ranks = static_cast<double>(layout.ranks);
  shape.ranks_per_node = static_cast<double>(layout.local());
  const bool fine = shape.groups >= 1 && shape.kept_groups >= 1 && shape.kept_groups <= shape.groups &&
                    shape.top_k >= 1 && shape.top_k <= shape.experts * shape.kept_groups / shape.groups &&
                    shape.expert_ranks <= shape.experts;
  if (!fine)
    core::fail_input(
        "routing: found {} experts in {} groups, top {} of {} groups, on {} ranks; expected no more groups "
        "kept than there are, no more experts chosen than those hold, no more ranks than experts",
        shape.experts, shape.groups, shape.top_k, shape.kept_groups, shape.expert_ranks);
  return shape;
}

class ExpertFlows {
 public:
  ExpertFlows(const ExpertParallel& setting, const Fabric& fabric, Router& router, Phase& phase)
      : setting_(setting), fabric_(fabric), router_(router), phase_(phase) {}

  void add_group(const std::vector<std::uint32_t>& group) {
    const Layout layout = layout_of(group, fabric_);
    const workload::RoutingShape shape = shape_of(setting_, layout);
    const double all = setting_.tokens * setting_.token_bytes;
    const auto ranks = static_cast<double>(layout.ranks);
    if (setting_.mode == DispatchMode::kForwarded) {
      const double to_rank = all * workload::expected_places(shape, ranks) / ranks;
      const double to_node =
          all * workload::expected_places(shape, static_cast<double>(layout.nodes)) / static_cast<double>(layout.nodes);
      forwarded(group, layout, to_node, to_rank);
    } else {
      const bool per_expert = setting_.mode == DispatchMode::kLowLatency;
      straight(group, all * (per_expert ? shape.top_k : workload::expected_places(shape, ranks)) / ranks);
    }
  }

 private:
  void straight(const std::vector<std::uint32_t>& group, double bytes) {
    for (const std::uint32_t from : group)
      for (const std::uint32_t to : group) send(from, to, bytes, 0);
  }

  void forwarded(const std::vector<std::uint32_t>& group, const Layout& layout, double to_node, double to_rank) {
    const std::size_t local = layout.local();
    for (std::size_t i = 0; i < layout.ranks; ++i) {
      const std::size_t node = i / local;
      double latency_s = 0;
      for (std::size_t other = 0; other < layout.nodes; ++other) {
        if (other == node) continue;
        send(group[i], group[other * local + i % local], to_node, 0);
        latency_s = std::max(latency_s, route_latency(fabric_.links(), route_));
      }
      // What this GPU hands on: its own tokens and those of the GPUs of its index on the other nodes.
      for (std::size_t j = node * local; j < (node + 1) * local; ++j)
        send(group[i], group[j], to_rank * static_cast<double>(layout.nodes), setting_.combine ? 0 : latency_s);
    }
  }

  void send(std::uint32_t from, std::uint32_t to, double bytes, double start_s) {
    if (setting_.combine) std::swap(from, to);
    if (from != to) {
      router_.route(from, to, bytes, route_);
    } else {
      if (!setting_.own_copies) return;
      route_.clear();
      fabric_.append_nvlink(from, from, route_);
    }
    phase_.flows.add(start_s, bytes, route_);
  }

  const ExpertParallel& setting_;
  const Fabric& fabric_;
  Router& router_;
  Phase& phase_;
  std::vector<std::uint32_t> route_;
};

}  // namespace

DispatchMode parse_dispatch_mode(const std::string& name) {
  static const std::vector<std::string> names{"forwarded", "flat", "low-latency"};
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    core::fail_input("mode: found '{}', expected forwarded, flat or low-latency{}", name,
                     core::suggestion(name, names));
  return static_cast<DispatchMode>(found - names.begin());
}

Phase expert_parallel_phase(const ExpertParallel& setting, const Groups& groups, const Fabric& fabric, Router& router) {
  check_groups(groups, fabric);
  Phase phase{setting.combine ? "combine" : "dispatch", {}, 1};
  const std::size_t ranks = groups.front().size();
  const std::size_t most = groups.size() * ranks * ranks;
  phase.flows.reserve(setting.mode == DispatchMode::kForwarded ? most / 4 : most,
                      setting.mode == DispatchMode::kForwarded ? most : 4 * most);
  ExpertFlows flows(setting, fabric, router, phase);
  for (const std::vector<std::uint32_t>& group : groups) flows.add_group(group);
  return phase;
}

double nic_copies_per_token(const ExpertParallel& setting, std::size_t ranks, std::size_t nodes) {
  const auto n = static_cast<double>(nodes);
  if (setting.mode == DispatchMode::kForwarded)
    return workload::expected_places(shape_of(setting, {ranks, nodes}), n) * (n - 1) / n;
  // Straight: of all copies, those to ranks of other nodes.
  return logical_copies_per_token(setting, ranks, nodes) * (n - 1) / n;
}

double logical_copies_per_token(const ExpertParallel& setting, std::size_t ranks, std::size_t nodes) {
  const workload::RoutingShape shape = shape_of(setting, {ranks, nodes});
  if (setting.mode == DispatchMode::kLowLatency) return shape.top_k;
  const bool by_node = setting.mode == DispatchMode::kForwarded && nodes > 1;
  return workload::expected_places(shape, static_cast<double>(by_node ? nodes : ranks));
}

}  // namespace lastbit::sim::network

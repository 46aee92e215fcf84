#include "sim/network/collective.h"

#include <algorithm>

#include "core/error.h"
#include "core/suggest.h"

namespace lastbit::sim::network {
namespace {

const std::vector<std::string>& algorithm_names() {
  static const std::vector<std::string> names{"flat", "ring", "tree", "nvls"};
  return names;
}

// Builds phases; a flow between GPUs takes the router's way.
class Builder {
 public:
  Builder(const Collective& collective, const Groups& groups, const Fabric& fabric, Router& router)
      : collective_(collective), groups_(groups), fabric_(fabric), router_(router) {}

  [[nodiscard]] std::vector<Phase> build() {
    const auto ranks = static_cast<double>(size());
    const double share = collective_.bytes / ranks;
    switch (collective_.kind) {
      case CollectiveKind::kAllToAll:
        return {all_to_all(share)};
      case CollectiveKind::kAllGather:
        return {ring("all-gather step", share, static_cast<int>(size()) - 1)};
      case CollectiveKind::kReduceScatter:
        return {ring("reduce-scatter step", share, static_cast<int>(size()) - 1)};
      case CollectiveKind::kAllReduce:
        if (collective_.algorithm == Algorithm::kTree) return {tree(true)};
        if (collective_.algorithm == Algorithm::kNvls) return nvls();
        return {ring("all-reduce step", share, 2 * (static_cast<int>(size()) - 1))};
      case CollectiveKind::kBroadcast:
        return {collective_.algorithm == Algorithm::kTree ? tree(false) : star()};
      case CollectiveKind::kP2p:
        return {pairs()};
    }
    return {};
  }

 private:
  [[nodiscard]] std::size_t size() const { return groups_.front().size(); }

  void send(Phase& phase, std::uint32_t from, std::uint32_t to, double bytes, double start_s = 0) {
    router_.route(from, to, bytes, route_);
    phase.flows.add(start_s, bytes, route_);
  }

  Phase all_to_all(double share) {
    Phase phase{"all-to-all", {}, 1};
    phase.flows.reserve(groups_.size() * size() * (size() - 1), groups_.size() * size() * (size() - 1) * 4);
    for (const auto& group : groups_)
      for (const std::uint32_t from : group)
        for (const std::uint32_t to : group)
          if (from != to) send(phase, from, to, share);
    return phase;
  }

  Phase ring(const char* name, double share, int steps) {
    Phase phase{name, {}, steps};
    for (const auto& group : groups_)
      for (std::size_t i = 0; i < group.size(); ++i) send(phase, group[i], group[(i + 1) % group.size()], share);
    return phase;
  }

  // Ranks 2i + 1 and 2i + 2 below rank i. In chunks, so that every edge is busy from when the first chunk gets there:
  // an edge starts after the latencies of the edges before it.
  Phase tree(bool up_too) {
    Phase phase{up_too ? "up and down the tree" : "down the tree", {}, 1};
    for (const auto& group : groups_) {
      std::vector<double> down_s(group.size(), 0.0);  // when the first chunk from the root gets there
      std::vector<double> up_s(group.size(), 0.0);    // when the first chunk from below is there
      for (std::size_t i = group.size() - 1; up_too && i > 0; --i) {
        const std::size_t parent = (i - 1) / 2;
        const double start_s = up_s[i];
        send(phase, group[i], group[parent], collective_.bytes, start_s);
        up_s[parent] = std::max(up_s[parent], start_s + route_latency(fabric_.links(), route_));
      }
      down_s[0] = up_s[0];
      for (std::size_t i = 1; i < group.size(); ++i) {
        const std::size_t parent = (i - 1) / 2;
        send(phase, group[parent], group[i], collective_.bytes, down_s[parent]);
        down_s[i] = down_s[parent] + route_latency(fabric_.links(), route_);
      }
    }
    return phase;
  }

  Phase star() {
    Phase phase{"broadcast", {}, 1};
    for (const auto& group : groups_)
      for (std::size_t i = 1; i < group.size(); ++i) send(phase, group[0], group[i], collective_.bytes);
    return phase;
  }

  Phase pairs() {
    Phase phase{"point to point", {}, 1};
    for (const auto& group : groups_) {
      if (group.size() % 2 != 0) core::fail_input("ranks: found {}, expected an even number for pairs", group.size());
      for (std::size_t i = 0; i < group.size(); i += 2) send(phase, group[i], group[i + 1], collective_.bytes);
    }
    return phase;
  }

  std::vector<Phase> nvls() {
    const auto node_size = static_cast<std::size_t>(fabric_.cluster().node.gpus);
    for (const auto& group : groups_) {
      bool whole = group.size() % node_size == 0;
      for (std::size_t i = 0; whole && i < group.size(); ++i)
        whole = fabric_.node_of(group[i]) == fabric_.node_of(group[i / node_size * node_size]);
      if (!whole)
        core::fail_input("nvls: expected groups that fill whole nodes of {} GPUs, found one of {} ranks", node_size,
                         group.size());
    }
    const double share = collective_.bytes / static_cast<double>(node_size);
    std::vector<Phase> phases;
    phases.push_back(through_nvswitch("reduce in the NVSwitch", collective_.bytes, share));
    const std::size_t nodes = size() / node_size;
    if (nodes > 1) {
      Phase between{"ring between nodes", {}, 2 * (static_cast<int>(nodes) - 1)};
      for (const auto& group : groups_)
        for (std::size_t i = 0; i < group.size(); ++i)
          send(between, group[i], group[(i + node_size) % group.size()], share / static_cast<double>(nodes));
      phases.push_back(std::move(between));
    }
    phases.push_back(through_nvswitch("multicast by the NVSwitch", share, collective_.bytes));
    return phases;
  }

  // Every GPU sends and takes so much from its NVSwitch.
  Phase through_nvswitch(const char* name, double up, double down) {
    Phase phase{name, {}, 1};
    for (const auto& group : groups_) {
      for (const std::uint32_t gpu : group) {
        route_.clear();
        fabric_.append_nvlink(gpu, gpu, route_);
        phase.flows.add(0, up, std::span(route_).first(1));
        phase.flows.add(0, down, std::span(route_).last(1));
      }
    }
    return phase;
  }

  const Collective& collective_;
  const Groups& groups_;
  const Fabric& fabric_;
  Router& router_;
  std::vector<std::uint32_t> route_;
};

}  // namespace

void check_groups(const Groups& groups, const Fabric& fabric) {
  std::vector<bool> taken(fabric.num_gpus());
  if (groups.empty() || groups.front().size() < 2)
    core::fail_input("ranks: found {}, expected at least 2 in a group", groups.empty() ? 0 : groups.front().size());
  for (const std::vector<std::uint32_t>& group : groups) {
    if (group.size() != groups.front().size())
      core::fail_input("ranks: found groups of {} and of {}, expected equal ones", groups.front().size(), group.size());
    for (const std::uint32_t gpu : group) {
      if (gpu >= fabric.num_gpus())
        core::fail_input("ranks: found GPU {}, {} has GPUs 0 to {}", gpu, fabric.cluster().name, fabric.num_gpus() - 1);
      if (taken[gpu]) core::fail_input("ranks: GPU {} is there twice", gpu);
      taken[gpu] = true;
    }
  }
}

const std::vector<std::string>& collective_names() {
  static const std::vector<std::string> names{"alltoall",  "allgather", "reducescatter",
                                              "allreduce", "broadcast", "p2p"};
  return names;
}

CollectiveKind parse_collective(const std::string& name) {
  const auto found = std::find(collective_names().begin(), collective_names().end(), name);
  if (found == collective_names().end())
    core::fail_input(
        "kind: found '{}', expected alltoall, allgather, reducescatter, allreduce, broadcast, p2p, dispatch or "
        "combine{}",
        name, core::suggestion(name, collective_names()));
  return static_cast<CollectiveKind>(found - collective_names().begin());
}

Algorithm parse_algorithm(const std::string& name, CollectiveKind kind) {
  using enum Algorithm;
  std::vector<Algorithm> has;  // the first is the default
  switch (kind) {
    case CollectiveKind::kAllToAll:
    case CollectiveKind::kP2p:
      has = {kFlat};
      break;
    case CollectiveKind::kAllGather:
    case CollectiveKind::kReduceScatter:
      has = {kRing};
      break;
    case CollectiveKind::kAllReduce:
      has = {kRing, kTree, kNvls};
      break;
    case CollectiveKind::kBroadcast:
      has = {kTree, kFlat};
      break;
  }
  if (name == "auto") return has.front();
  std::string all;
  for (const Algorithm algorithm : has) {
    if (algorithm_name(algorithm) == name) return algorithm;
    all += (all.empty() ? "" : ", ") + algorithm_name(algorithm);
  }
  core::fail_input("algorithm: found '{}', {} has: {}", name, collective_names()[static_cast<std::size_t>(kind)], all);
}

const std::string& algorithm_name(Algorithm algorithm) {
  return algorithm_names()[static_cast<std::size_t>(algorithm)];
}

std::vector<Phase> collective_phases(const Collective& collective, const Groups& groups, const Fabric& fabric,
                                     Router& router) {
  check_groups(groups, fabric);
  return Builder(collective, groups, fabric, router).build();
}

double bus_factor(CollectiveKind kind, std::size_t ranks) {
  const auto n = static_cast<double>(ranks);
  switch (kind) {
    case CollectiveKind::kAllToAll:
    case CollectiveKind::kAllGather:
    case CollectiveKind::kReduceScatter:
      return (n - 1) / n;
    case CollectiveKind::kAllReduce:
      return 2 * (n - 1) / n;
    case CollectiveKind::kBroadcast:
    case CollectiveKind::kP2p:
      return 1;
  }
  return 1;
}

CollectiveTime run_phases(const Fabric& fabric, const std::vector<Phase>& phases, const SolveOptions& options) {
  CollectiveTime time;
  time.link_bytes.assign(fabric.links().size(), 0.0);
  for (const Phase& phase : phases) {
    const Answer answer = solve(fabric.links(), phase.flows, options);
    time.phase_s.push_back(answer.makespan_s * phase.repeats);
    time.seconds += time.phase_s.back();
    for (std::size_t link = 0; link < time.link_bytes.size(); ++link)
      time.link_bytes[link] += answer.link_bytes[link] * phase.repeats;
    time.flows += phase.flows.size();
    time.flow_classes += answer.flow_classes;
  }
  return time;
}

}  // namespace lastbit::sim::network

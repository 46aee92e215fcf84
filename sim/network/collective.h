// Collective operations as flows over a cluster's links.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/network/fabric.h"
#include "sim/network/flow_list.h"
#include "sim/network/router.h"
#include "sim/network/solve.h"

namespace lastbit::sim::network {

// Flows that all ranks start together; the next phase starts when the last of them has arrived.
struct Phase {
  std::string name;
  FlowList flows;
  int repeats = 1;  // phases in a row with the same flows, as the steps of a ring
};

enum class CollectiveKind { kAllToAll, kAllGather, kReduceScatter, kAllReduce, kBroadcast, kP2p };
enum class Algorithm { kFlat, kRing, kTree, kNvls };

// `groups` of GPUs that run the same operation at the same time; all of one size, no GPU twice.
using Groups = std::vector<std::vector<std::uint32_t>>;

// Error(kInput): fewer than two ranks, groups of different sizes, a GPU that the cluster lacks or that is there twice.
void check_groups(const Groups& groups, const Fabric& fabric);

struct Collective {
  CollectiveKind kind = CollectiveKind::kAllToAll;
  Algorithm algorithm = Algorithm::kFlat;
  double bytes = 0;  // a rank's buffer, as nccl-tests count it: sent (all-to-all, reduce-scatter), gathered
                     // (all-gather), reduced (all-reduce), copied (broadcast, p2p)
};

// "alltoall", "allgather", "reducescatter", "allreduce", "broadcast", "p2p"; Error(kInput) with a suggestion.
[[nodiscard]] const std::vector<std::string>& collective_names();
[[nodiscard]] CollectiveKind parse_collective(const std::string& name);
// "flat", "ring", "tree", "nvls", or "auto": flat for all-to-all, broadcast by tree, p2p flat, rings for the others.
// Error(kInput): unknown, or one that the kind does not have.
[[nodiscard]] Algorithm parse_algorithm(const std::string& name, CollectiveKind kind);
[[nodiscard]] const std::string& algorithm_name(Algorithm algorithm);

// - all-to-all, flat: each rank sends bytes / n to every other at once.
// - all-gather and reduce-scatter, ring: n - 1 steps of bytes / n to the next rank; all-reduce: 2 (n - 1) of them.
// - all-reduce, tree: up a binary tree and down again, in chunks, so that all its edges carry bytes at once, both ways.
// - all-reduce, nvls: the NVSwitch adds what the GPUs of a node send and hands each its share; rings of the same share
//   between nodes (one a GPU index); the NVSwitch hands the result to all. Every group fills whole nodes.
// - broadcast, tree: down a binary tree in chunks; flat: from the first rank to every other at once.
// - p2p: rank 2i to rank 2i + 1.
// Error(kInput): as check_groups; an odd number of ranks in pairs; nvls over parts of nodes.
[[nodiscard]] std::vector<Phase> collective_phases(const Collective& collective, const Groups& groups,
                                                   const Fabric& fabric, Router& router);

// Bytes that the busiest link must carry at best, over bytes: what turns bytes / time into the "bus bandwidth" of
// nccl-tests (doc/PERFORMANCE.md).
[[nodiscard]] double bus_factor(CollectiveKind kind, std::size_t ranks);

struct CollectiveTime {
  double seconds = 0;
  std::vector<double> phase_s;     // of each phase, with its repeats
  std::vector<double> link_bytes;  // over all phases
  std::size_t flows = 0;           // of all phases, repeats not counted
  std::size_t flow_classes = 0;
};

[[nodiscard]] CollectiveTime run_phases(const Fabric& fabric, const std::vector<Phase>& phases,
                                        const SolveOptions& options);

}  // namespace lastbit::sim::network

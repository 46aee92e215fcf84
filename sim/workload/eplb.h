// Expert-parallel load balancing: which experts get further replicas, and where all replicas lie.
// Source: deepseek-ai/EPLB, eplb.py (DeepSeek-V3 report, section 3.4).
#pragma once

#include <string>
#include <vector>

#include "sim/workload/placement.h"

namespace lastbit::sim::workload {

struct EplbParams {
  int replicas = 1;  // slots: experts and their further replicas
  int groups = 1;    // of experts, in order; a hierarchical placement keeps a group's replicas on one node
  int nodes = 1;
  int gpus = 1;
};

enum class EplbPolicy {
  kAuto,          // hierarchical when the nodes divide the groups, else global
  kHierarchical,  // groups to nodes, replicas within nodes, replicas to the node's GPUs
  kGlobal,        // replicas and GPUs without regard to groups and nodes
};

// The placement of one layer. loads: [experts], finite, >= 0; taken as FP32, in which the reference computes, so that
// near ties fall the same way; so do ties, as libstdc++'s std::sort leaves them. Errors (bad input) name the rule that
// the counts break: replicas a multiple of GPUs and at least as many as experts, and for a hierarchical placement
// experts a multiple of groups, groups of nodes, GPUs of nodes. A global one on GPUs that the nodes do not divide,
// which the reference allows, has 1 node.
[[nodiscard]] Placement eplb_placement(const std::vector<double>& loads, const EplbParams& params,
                                       EplbPolicy policy = EplbPolicy::kAuto);

// Whether kAuto means hierarchical.
[[nodiscard]] bool eplb_is_hierarchical(const EplbParams& params, EplbPolicy policy);

}  // namespace lastbit::sim::workload

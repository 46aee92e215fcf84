// How far tokens travel: the nodes and ranks that a token's experts lie on when experts are chosen evenly.
#pragma once

namespace lastbit::sim::workload {

// Experts in groups, a token's top_k taken from its best `kept_groups` groups, spread over ranks and nodes in order.
struct RoutingShape {
  double experts = 0;
  double groups = 1;
  double kept_groups = 1;
  double top_k = 0;
  double expert_ranks = 1;  // ranks that share a layer's experts
  double ranks_per_node = 8;
};

// The expected number of distinct places a token goes to when experts are spread evenly over `places` (nodes or
// ranks) and the choice is uniform: groups first, experts inside them then, as node-limited routing does
// (DeepSeek-V3 report, section 2.1.2).
[[nodiscard]] double expected_places(const RoutingShape& shape, double places);

// Nodes that share the layer's experts, at least 1.
[[nodiscard]] double expert_nodes(const RoutingShape& shape);

}  // namespace lastbit::sim::workload

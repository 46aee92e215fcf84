// What a layer's routing means for GPUs, links and the slowest expert, as text and JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "sim/workload/traffic.h"

namespace lastbit::sim::report {

// Bytes of one token's vector in the two all-to-alls.
struct TokenBytes {
  double dispatch = 0;
  double combine = 0;
};

// Means a token; "other" counts neither its own GPU nor its own node.
struct Reach {
  double gpus = 0;
  double nodes = 0;
  double other_nodes = 0;   // copies over the network with one a node
  double network_gpus = 0;  // copies over the network with one a GPU
};

// Of a traffic, and the exact expectation for uniform routing and experts in order where it has a closed form
// (workload::expected_places): groups and nodes, and groups and GPUs, divide one another.
[[nodiscard]] Reach reach_of(const workload::Traffic& traffic, std::int64_t tokens);
[[nodiscard]] std::optional<Reach> uniform_reach(const workload::ChoiceRule& rule, int experts, int gpus, int nodes);

struct RoutingSummary {
  workload::Traffic traffic;
  std::int64_t tokens = 0;
  TokenBytes bytes;
  std::vector<double> loads;      // [experts] asked for
  std::optional<Reach> expected;  // when the routing is uniform
};

[[nodiscard]] std::string routing_text(const RoutingSummary& summary);
// With every matrix.
[[nodiscard]] nlohmann::ordered_json routing_json(const RoutingSummary& summary);

}  // namespace lastbit::sim::report

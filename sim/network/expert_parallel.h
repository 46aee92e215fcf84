// Dispatch and combine of experts' tokens as flows.
#pragma once

#include "sim/network/collective.h"
#include "sim/workload/routing.h"

namespace lastbit::sim::network {

// How tokens travel between the ranks of an expert-parallel group.
enum class DispatchMode {
  kForwarded,   // once per destination node to the GPU of the same index, from there over NVLink to each rank that has
                // one of its experts (DeepSeek-V3 report, section 3.2.2)
  kFlat,        // once per destination rank, straight
  kLowLatency,  // once per expert, straight: DeepEP's low-latency kernels
};
// "forwarded", "flat", "low-latency"; Error(kInput) with a suggestion.
[[nodiscard]] DispatchMode parse_dispatch_mode(const std::string& name);

struct ExpertParallel {
  DispatchMode mode = DispatchMode::kForwarded;
  bool combine = false;  // the way back: every flow the other way round
  // The kernel moves a token for its own rank like one for any other, through the GPU's NVLink port; without this such
  // tokens move nothing. See docs/network.md.
  bool own_copies = false;
  double tokens = 0;               // of a rank
  double token_bytes = 0;          // of one copy
  workload::RoutingShape routing;  // expert_ranks and ranks_per_node are set from the groups
};

// One phase; sizes are the expected ones for experts spread evenly and a uniform choice (workload::expected_places).
// All tokens that a GPU forwards to one other are one flow. Forwarding starts with the first token: its flows begin
// when the latency to the forwarding GPU is over. Error(kInput): as collective_phases; groups that do not fill nodes
// evenly, more places than experts.
[[nodiscard]] Phase expert_parallel_phase(const ExpertParallel& setting, const Groups& groups, const Fabric& fabric,
                                          Router& router);

// The closed form of what leaves a rank through its NIC for each token, in copies of a token, when choices are uniform.
[[nodiscard]] double nic_copies_per_token(const ExpertParallel& setting, std::size_t ranks, std::size_t nodes);
// Copies of a token that are counted as its logical traffic, own rank and node included, as DeepEP counts: distinct
// nodes (forwarded over several nodes), distinct ranks (one node, or flat), experts (low latency).
[[nodiscard]] double logical_copies_per_token(const ExpertParallel& setting, std::size_t ranks, std::size_t nodes);

}  // namespace lastbit::sim::network

// Who sends how much to whom: tokens between the GPUs of an expert-parallel group, by two ways of dispatch.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/workload/placement.h"
#include "sim/workload/token_routing.h"

namespace lastbit::sim::workload {

// Tokens of one layer's dispatch; combine is its transpose. A token that chooses several experts on one GPU is sent
// there once. Matrices are row-major, [source][destination].
struct Traffic {
  int gpus = 1;
  int nodes = 1;
  std::vector<std::int64_t> to_gpu;     // [gpus, gpus] tokens with an expert on the destination; itself included
  std::vector<std::int64_t> to_node;    // [gpus, nodes] tokens with an expert on the node; its own included
  std::vector<std::int64_t> forwarded;  // [gpus, gpus] within a node: tokens that reached the source over the network,
                                        // from the GPU of its index on another node, and go on to the destination
  std::vector<std::int64_t> slot_rows;  // [slots] tokens that each replica computes

  [[nodiscard]] std::int64_t gpus_a_node() const { return gpus / nodes; }
};

// tokens: dealt to the GPUs in order, in even parts (the first ones take what is left over). An expert's replicas take
// its tokens in turn. Errors (bad input): tokens routed to another number of experts than are placed.
[[nodiscard]] Traffic token_traffic(const RoutedTokens& tokens, const Placement& placement);

// What each GPU sends and receives, [gpus].
struct GpuTraffic {
  std::vector<std::int64_t> network_sent;  // over its NIC, to other nodes
  std::vector<std::int64_t> network_received;
  std::vector<std::int64_t> nvlink_sent;  // to other GPUs of its node
  std::vector<std::int64_t> nvlink_received;
};
// Direct: a token goes to each GPU that has an expert of its, across the network once for each of them.
[[nodiscard]] GpuTraffic direct_traffic(const Traffic& traffic);
// Node-limited dispatch (DeepSeek-V3 report, section 3.2.2): a token crosses the network once for each node, to the
// GPU of its own index there, which forwards it over NVLink.
[[nodiscard]] GpuTraffic forwarded_traffic(const Traffic& traffic);

// Tokens between nodes, [nodes, nodes], counted once for each destination node; the diagonal is what stays.
[[nodiscard]] std::vector<std::int64_t> node_traffic(const Traffic& traffic);

// Tokens over the network by plane, [GPUs of a node]: a GPU's NIC is on the plane of its index in the node.
[[nodiscard]] std::vector<std::int64_t> plane_traffic(const Traffic& traffic, const GpuTraffic& sent);

}  // namespace lastbit::sim::workload

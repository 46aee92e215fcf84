// Groups of GPUs, as the command line names them.
#pragma once

#include <string>

#include "sim/network/collective.h"

namespace lastbit::sim::network {

// `ranks`: a number N, the first N GPUs, or a list of GPUs and ranges "0-7,16-23". `count`: so many groups of N GPUs
// one after another, or "all" that fit; 1 with a list. Error(kInput): not that, or more GPUs than the cluster has.
[[nodiscard]] Groups parse_groups(const std::string& ranks, const std::string& count, const Fabric& fabric);

// Nodes that a group of GPUs lies on, node by node.
[[nodiscard]] std::size_t nodes_of(const std::vector<std::uint32_t>& group, const Fabric& fabric);

// Bytes of one copy of a token: "bf16", or "fp8" with an FP32 scale for every 128 elements (DeepSeek-V3 report,
// section 3.3.2). Error(kInput): another format.
[[nodiscard]] double token_bytes(double hidden, const std::string& format);

}  // namespace lastbit::sim::network

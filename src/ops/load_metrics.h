// How evenly a router loads its experts, and how far it sends its tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/router.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

struct LoadMetrics {
  std::vector<std::int64_t> load;  // [experts] tokens that chose each expert, before any were dropped
  // Of `load`; 0 without tokens.
  double mean = 0;
  double max_over_mean = 0;       // 1: even; experts: all tokens on one
  double max_violation = 0;       // MaxVio of arXiv 2408.15664: (max - mean) / mean = max_over_mean - 1
  double standard_deviation = 0;  // over the experts, divided by their number
  double entropy = 0;             // of load / total, in nats: log(experts) when even
  std::int64_t dropped = 0;       // (token, expert) pairs beyond a capacity
  std::int64_t skipped = 0;       // second experts left out at random
  std::int64_t tokens_without_expert = 0;
  // [nodes + 1] share of tokens whose remaining experts lie on exactly n nodes; node d holds experts / nodes
  // consecutive experts.
  std::vector<double> share_on_nodes;
};

// choice [tokens, K] i64, -1 for an unused slot: how many tokens chose each expert.
[[nodiscard]] std::vector<std::int64_t> expert_load(const tensor::Tensor& choice, std::int64_t experts);

[[nodiscard]] LoadMetrics load_metrics(const Routing& routing, std::int64_t experts, std::int64_t nodes = 1);

}  // namespace lastbit::ops

#include "ops/load_metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "core/error.h"
#include "numerics/elementary.h"

namespace lastbit::ops {
namespace {

void describe_load(LoadMetrics& metrics) {
  const std::vector<std::int64_t>& load = metrics.load;
  const auto total = static_cast<double>(std::accumulate(load.begin(), load.end(), std::int64_t{0}));
  if (total == 0) return;
  const auto experts = static_cast<double>(load.size());
  metrics.mean = total / experts;
  const auto largest = static_cast<double>(*std::max_element(load.begin(), load.end()));
  metrics.max_over_mean = largest / metrics.mean;
  metrics.max_violation = (largest - metrics.mean) / metrics.mean;
  double squares = 0;
  for (const std::int64_t count : load) {
    const double value = static_cast<double>(count);
    squares += (value - metrics.mean) * (value - metrics.mean);
    if (count > 0) metrics.entropy -= value / total * numerics::log(value / total);
  }
  metrics.standard_deviation = std::sqrt(squares / experts);
}

// Nodes among the experts of one token, which ascend: each new node is a step up.
std::int64_t nodes_of(std::span<const std::int64_t> experts, std::int64_t experts_a_node) {
  std::int64_t nodes = 0;
  std::int64_t last = -1;
  for (const std::int64_t expert : experts) {
    if (expert < 0 || expert / experts_a_node == last) continue;
    last = expert / experts_a_node;
    ++nodes;
  }
  return nodes;
}

}  // namespace

std::vector<std::int64_t> expert_load(const tensor::Tensor& choice, std::int64_t experts) {
  std::vector<std::int64_t> load(static_cast<std::size_t>(experts), 0);
  for (const std::int64_t expert : choice.values<std::int64_t>())
    if (expert >= 0) ++load.at(static_cast<std::size_t>(expert));
  return load;
}

LoadMetrics load_metrics(const Routing& routing, std::int64_t experts, std::int64_t nodes) {
  core::check(nodes > 0 && experts % nodes == 0, "load_metrics: nodes divide the experts");
  LoadMetrics metrics;
  metrics.load = expert_load(routing.chosen, experts);
  describe_load(metrics);
  metrics.dropped = routing.dropped;
  metrics.skipped = routing.skipped;
  const std::int64_t tokens = routing.experts.dim(0);
  const auto top_k = static_cast<std::size_t>(routing.experts.dim(1));
  const auto remaining = routing.experts.values<std::int64_t>();
  std::vector<std::int64_t> tokens_on(static_cast<std::size_t>(nodes) + 1, 0);
  for (std::size_t t = 0; t < static_cast<std::size_t>(tokens); ++t)
    ++tokens_on[static_cast<std::size_t>(nodes_of(remaining.subspan(t * top_k, top_k), experts / nodes))];
  metrics.tokens_without_expert = tokens_on[0];
  for (const std::int64_t count : tokens_on)
    metrics.share_on_nodes.push_back(tokens == 0 ? 0 : static_cast<double>(count) / static_cast<double>(tokens));
  return metrics;
}

}  // namespace lastbit::ops

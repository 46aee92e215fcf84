#include "sim/workload/routing.h"

#include <algorithm>

namespace lastbit::sim::workload {
namespace {

// C(all - avoided, drawn) / C(all, drawn): the chance that `drawn` of `all` miss the `avoided` ones.
double miss_probability(double all, double avoided, double drawn) {
  double probability = 1;
  for (int i = 0; i < static_cast<int>(drawn) && i < all; ++i) {
    probability *= std::max(0.0, all - avoided - i) / (all - i);
  }
  return probability;
}

// C(n, r) by products; small n only.
double choose(double n, double r) {
  if (r < 0 || r > n) return 0;
  double value = 1;
  for (int i = 0; i < static_cast<int>(r); ++i) value *= (n - i) / (i + 1);
  return value;
}

}  // namespace

double expert_nodes(const RoutingShape& shape) { return std::max(1.0, shape.expert_ranks / shape.ranks_per_node); }

double expected_places(const RoutingShape& shape, double places) {
  const double pool = shape.experts * shape.kept_groups / shape.groups;  // experts of the kept groups
  if (places <= shape.groups) {
    // A place holds whole groups; j of them are among the kept ones with hypergeometric probability.
    const double here = shape.groups / places;
    double miss = 0;
    for (double j = 0; j <= here; ++j) {
      const double ways = choose(here, j) * choose(shape.groups - here, shape.kept_groups - j) /
                          choose(shape.groups, shape.kept_groups);
      if (ways > 0) miss += ways * miss_probability(pool, j * shape.experts / shape.groups, shape.top_k);
    }
    return places * (1 - miss);
  }
  // A place holds part of one group.
  const double kept = shape.kept_groups / shape.groups;
  const double miss = (1 - kept) + kept * miss_probability(pool, shape.experts / places, shape.top_k);
  return places * (1 - miss);
}

}  // namespace lastbit::sim::workload

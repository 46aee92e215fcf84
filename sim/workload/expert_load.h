// How much each expert is chosen: loads [experts] that sum to 1, from a rule, a file or a recorded trace.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/routing_trace.h"

namespace lastbit::sim::workload {

// Loads of several layers, [layers][experts].
using LayerLoads = std::vector<std::vector<double>>;

// Every expert the same.
[[nodiscard]] std::vector<double> uniform_loads(int experts);

// Zipf's law: the i-th most popular expert, i from 1, in proportion to i^-exponent (finite, >= 0; else bad input).
// Which expert is the i-th is drawn from the seed.
[[nodiscard]] std::vector<double> zipf_loads(int experts, double exponent, std::uint64_t seed);

// A trace's counts over all steps, as shares of all choices, for each of its layers. Errors (bad input): a layer of
// which nothing was chosen.
[[nodiscard]] LayerLoads trace_loads(const io::RoutingTrace& trace, const std::string& name);

// Where the finer experts lie when each of `experts` is cut into `parts`: part `part` of `expert` stays in its group
// (of `groups` equal ones, in order) and lies as far from its siblings as the group allows, so that they are as likely
// to share a GPU as any others.
[[nodiscard]] std::int64_t finer_expert(std::int64_t expert, std::int64_t part, std::int64_t parts,
                                        std::int64_t experts, std::int64_t groups);

// Loads for another number of experts. A multiple: each load is cut into equal parts, laid out as by finer_expert(),
// and the imbalance stays. Any other: the old loads laid end to end over [0, 1), each 1/E wide, and cut anew into
// `experts` equal pieces; the sum stays, but a piece averages what it covers. groups: of the old experts. Errors (bad
// input): no loads, groups that do not divide the old experts.
[[nodiscard]] std::vector<double> resample_loads(const std::vector<double>& loads, int experts, int groups = 1);

// Scales to a sum of 1. Errors (bad input, `name` in front): an empty list, a load that is negative or not finite, no
// load at all.
[[nodiscard]] std::vector<double> normalized_loads(std::vector<double> loads, const std::string& name);

// The busiest over the mean; 1 when all are 0.
[[nodiscard]] double load_factor(const std::vector<double>& loads);

}  // namespace lastbit::sim::workload

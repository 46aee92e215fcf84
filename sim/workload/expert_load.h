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

// Loads for another number of experts: the old ones laid end to end over [0, 1), each 1/E wide, and cut anew into
// `experts` equal pieces. The sum stays, neighbours stay neighbours (so groups stay groups), and when the new number is
// a multiple of the old the imbalance stays too; a smaller number averages.
[[nodiscard]] std::vector<double> resample_loads(const std::vector<double>& loads, int experts);

// Scales to a sum of 1. Errors (bad input, `name` in front): an empty list, a load that is negative or not finite, no
// load at all.
[[nodiscard]] std::vector<double> normalized_loads(std::vector<double> loads, const std::string& name);

// The busiest over the mean; 1 when all are 0.
[[nodiscard]] double load_factor(const std::vector<double>& loads);

}  // namespace lastbit::sim::workload

// Measured or assumed loads of experts as an input of the forecast.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/cluster/cluster.h"
#include "sim/train/job.h"

namespace lastbit::sim::train {

// The busiest expert rank's rows over the mean, [MoE layers, MTP's last], with experts placed in order. source:
// "uniform"; "zipf:EXPONENT", each layer drawn anew from the seed; else a file (workload/load_file.h): loads or a
// recorded trace. A file's experts are cut or merged to the model's number, of which theirs is a divisor or a multiple;
// its layers are stretched over the model's. Its groups, or the model's where they divide its experts, else one.
// Errors (bad input): what the file's reader refuses, any other number of experts, groups that do not divide them, a
// layer whose loads are all 0, an exponent that is none, a model without experts.
[[nodiscard]] std::vector<double> layer_load_factors(const model::ModelConfig& model, const Layout& layout,
                                                     const cluster::Cluster& cluster, const std::string& source,
                                                     std::uint64_t seed);

}  // namespace lastbit::sim::train

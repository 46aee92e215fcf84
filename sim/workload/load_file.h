// Expert loads from a file: JSON, or the counts of a recorded routing trace.
#pragma once

#include <optional>
#include <string>

#include "sim/workload/expert_load.h"

namespace lastbit::sim::workload {

struct LoadFile {
  LayerLoads loads;  // [layers][experts] as in the file, not scaled
  // Only in JSON objects that have them.
  std::optional<int> replicas;
  std::optional<int> groups;
  std::optional<int> nodes;
  std::optional<int> gpus;
};

// ".h5", ".hdf5": a routing trace, whose counts over all steps are the loads; its groups come along. Otherwise JSON:
// [load, ...] for one layer, [[load, ...], ...] for several, or an object with either as "weight" and, all optional,
// "name", "num_replicas", "num_groups", "num_nodes" and "num_gpus" (the arguments of EPLB's rebalance_experts); what a
// result adds to them ("physical_to_logical", "logical_count", ...) may be there and is not read.
// Errors (bad input): loads that are negative or not finite, layers of different lengths or without any, unknown keys.
[[nodiscard]] LoadFile read_load_file(const std::string& path);
[[nodiscard]] LoadFile parse_load_file(std::string_view json, const std::string& name);

}  // namespace lastbit::sim::workload

// The network of a cluster description.
#pragma once

#include <string>

#include "io/config_reader.h"
#include "sim/cluster/cluster.h"

namespace lastbit::sim::cluster {

// Reads and checks the object "network", and works out the sizes that it leaves out.
[[nodiscard]] Network read_network(const io::ConfigReader& reader, int nodes, const Node& node);

// Switches on the longest of the shortest paths between two NICs.
[[nodiscard]] int switches_on_longest_path(Fabric fabric);

// "attainable" may not exceed "peak": a swapped or mistyped pair is the commonest slip in such a file.
void check_attainable(const io::ConfigReader& reader, const std::string& key, double attainable, double peak);

}  // namespace lastbit::sim::cluster

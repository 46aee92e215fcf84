// The shapes of fabrics.
#pragma once

#include <memory>

#include "sim/network/fabric.h"

namespace lastbit::sim::network {

// Adds the links between switches to `table`, each of `link_rate` B/s (parallel ones as their sum), and returns the
// ways through them.
[[nodiscard]] std::unique_ptr<Topology> make_topology(const cluster::Cluster& cluster, double link_rate,
                                                      LinkTable& table);
[[nodiscard]] std::unique_ptr<Topology> make_fat_tree_2(const cluster::Cluster& cluster, double link_rate,
                                                        LinkTable& table);
[[nodiscard]] std::unique_ptr<Topology> make_fat_tree_3(const cluster::Cluster& cluster, double link_rate,
                                                        LinkTable& table);
[[nodiscard]] std::unique_ptr<Topology> make_dragonfly(const cluster::Cluster& cluster, double link_rate,
                                                       LinkTable& table);

}  // namespace lastbit::sim::network

// What a fabric is made of.
#pragma once

#include <cstddef>
#include <string>

#include "sim/network/fabric.h"

namespace lastbit::sim::network {

struct Inventory {
  std::size_t leaves = 0;
  std::size_t spines = 0;
  std::size_t cores = 0;
  std::size_t routers = 0;
  std::size_t nic_cables = 0;
  std::size_t switch_cables = 0;  // parallel ones counted one by one
  std::size_t failed_links = 0;   // directed
  double nvlink = 0;              // B/s a GPU and direction
  double nic = 0;                 // B/s
  double switch_link = 0;         // B/s of one between switches; 0: there is none

  [[nodiscard]] std::size_t switches() const { return leaves + spines + cores + routers; }
};

[[nodiscard]] Inventory take_inventory(const Fabric& fabric);

[[nodiscard]] std::string routing_name(cluster::Routing routing);  // as files write it

}  // namespace lastbit::sim::network

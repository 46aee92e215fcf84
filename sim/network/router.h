// Which of the equal paths a flow takes.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/network/fabric.h"

namespace lastbit::sim::network {

// Routes of flows through a fabric, by its cluster's routing:
// - ecmp: a hash of both NICs and a seed picks among the paths that are alive, as switches hash addresses.
// - static: the destination NIC's number modulo the paths, so that all traffic to a NIC comes down one way.
// - adaptive: the path on which the fullest link has the least bytes so far relative to its capacity, the first of
//   equals; among at most kAdaptiveTries paths that the hash picks where there are more.
// Between planes or past a failed NIC, traffic is forwarded over NVLink by a GPU of the same node.
class Router {
 public:
  explicit Router(const Fabric& fabric, std::uint64_t seed = 0);

  // The links from one GPU to another in order of travel; none when they are the same. Error(kInput): out of range, or
  // no path is left. `bytes` count as load for adaptive routing.
  void route(std::uint32_t from, std::uint32_t to, double bytes, std::vector<std::uint32_t>& links);

  static constexpr std::uint32_t kAdaptiveTries = 64;

 private:
  [[nodiscard]] std::uint32_t choose(const Fabric::Way& way);
  [[nodiscard]] bool path_alive(const Fabric::Way& way, std::uint32_t choice);
  [[nodiscard]] double fullest(const Fabric::Way& way, std::uint32_t choice);

  const Fabric& fabric_;
  std::uint64_t seed_;
  std::vector<double> load_;  // seconds of each link's capacity given out so far; adaptive only
  std::vector<std::uint32_t> path_;
  std::vector<std::uint32_t> usable_;
};

}  // namespace lastbit::sim::network

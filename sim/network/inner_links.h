// Links between the ports of a crossbar, which take no part in sharing as long as they can carry what comes.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/network/crossbar_levels.h"

namespace lastbit::sim::network {

// Rates that are max-min fair by the ports' capacities alone are so with more links, too, if these can carry them.
// Almost always the sum of as many of the highest rates as a link has flows, or of what is not less than those, shows
// that it can; else its own are added up.
class InnerLinks {
 public:
  explicit InnerLinks(std::vector<double> capacity);  // B/s

  // The next flow, of number 0, 1, ..., from a port of the first side to one of the second, as CrossbarLevels has them;
  // and the links that it crosses, each once, by their places among the capacities.
  void begin(std::uint32_t from, std::uint32_t to);
  void cross(std::uint32_t link);
  void end(std::uint32_t flow);

  // Whether some link cannot carry its flows at these levels.
  [[nodiscard]] bool overloaded(const CrossbarLevels& levels);

 private:
  void add_up_highest(const CrossbarLevels& levels);
  [[nodiscard]] double load(const CrossbarLevels& levels, std::uint32_t link);

  struct Flow {
    std::uint32_t from, to;
    std::uint32_t first;  // of its links in routes_
    bool ended;
  };
  std::vector<double> capacity_;
  double least_capacity_;
  std::vector<std::uint32_t> flows_on_;              // number of each link's flows
  std::size_t most_flows_ = 0;                       // no number is above it
  std::vector<std::vector<std::uint32_t>> on_link_;  // flows, some of them ended
  std::vector<Flow> flows_;
  std::vector<std::uint32_t> routes_;
  std::vector<double> highest_;  // sums of the 0, 1, ..., most_flows_ highest rates, at least
};

}  // namespace lastbit::sim::network

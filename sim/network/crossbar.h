// Max-min sharing where every flow leaves one port and enters another and links between them can carry it: what MaxMin
// does, by loops over ports in place of lists of flows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sim/network/crossbar_clocks.h"
#include "sim/network/crossbar_levels.h"
#include "sim/network/flow_list.h"
#include "sim/network/inner_links.h"
#include "sim/network/max_min.h"

namespace lastbit::sim::network {

// The links of a component by their place in routes: at the start, at the end, or between.
struct CrossbarPorts {
  std::vector<double> first;  // capacities in B/s
  std::vector<double> second;
  std::vector<double> inner;
  std::vector<std::uint32_t> port;  // of each link, by its number in the component: a number among those of its place
};

// Completions of flows on a crossbar. It pays where most pairs of ports have a flow and sizes differ, so that
// completions come one by one: each of them then moves the levels of a large part of all ports. Links between the ports
// only have to carry the rates that these make; once one cannot, completions are wrong and MaxMin is to be used.
class Crossbar {
 public:
  explicit Crossbar(const CrossbarPorts& ports);

  // As MaxMin's, for flows of weight and count 1 whose routes go from the first side to the second.
  std::uint32_t begin(const SharedFlow& flow, std::span<const std::uint32_t> route, double now_s);
  [[nodiscard]] double next_completion_s();
  void complete(std::vector<std::uint32_t>& done);
  // Whether a link between the ports could not carry what it should, at some time up to now.
  [[nodiscard]] bool inner_link_overloaded() const { return inner_link_overloaded_; }

 private:
  void settle();
  void end_first_flows(std::uint32_t link, std::vector<std::uint32_t>& done);
  void look_again(std::uint32_t link);
  void hand_over();
  [[nodiscard]] double& finish(std::uint32_t owner, std::uint32_t other);

  CrossbarLevels levels_;
  std::size_t width_[2];
  std::vector<std::uint32_t> port_;
  CrossbarClocks clocks_;  // by link of levels_
  // Readings of the owner's clock at which flows are done, infinity where a link owns no flow: [links][other side].
  PortValues finish_;
  std::vector<std::size_t> row_;
  std::vector<std::uint32_t> number_;   // of the flow between two ports: [first side][second side]
  std::vector<std::uint32_t> rescans_;  // links whose first flow is gone, since the last settle()
  std::vector<bool> rescanned_;         // those
  std::vector<std::uint64_t> ended_;    // bits of a link's flows that are done now
  struct Begun {
    std::uint32_t from, to;
    double bytes;
  };
  std::vector<Begun> begun_;
  InnerLinks inner_;
  bool inner_link_overloaded_ = false;
  std::uint32_t flows_ = 0;
  bool stale_ = false;
};

// The ports of a component, if it is one that a crossbar should serve: every route two links or more, each once, each
// link in one place only, no two flows between the same ports, a quarter of all pairs or more, and neither weights nor
// counts, no port 1e12 times as fast as another; with links between, half of the flows or more not as large as the one
// before. Empty sides otherwise.
[[nodiscard]] CrossbarPorts crossbar_ports(const FlowList& flows, std::span<const std::uint32_t> members,
                                           std::span<const std::uint32_t> local_link, std::span<const double> capacity);

}  // namespace lastbit::sim::network

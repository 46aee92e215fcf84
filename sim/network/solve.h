// A whole scenario at once: links and flows in, completions out.
#pragma once

#include <cstddef>
#include <vector>

#include "sim/network/flow_list.h"
#include "sim/network/sharing.h"

namespace lastbit::sim::network {

struct SolveOptions {
  Sharing sharing = Sharing::kMaxMin;
  bool fold = true;  // fold flows that cannot be told apart; the answer is the same up to rounding
  int bins = 0;      // > 0: account for what every link carries over so many equal spans of time
};

struct Answer {
  std::vector<double> completion_s;  // of every flow: its start, the latency, the transfer
  double makespan_s = 0;             // the last completion
  std::vector<double> link_bytes;    // that each link carried
  std::vector<double> bin_bytes;     // [links, bins]: the same by spans of makespan / bins; empty without bins
  std::size_t flow_classes = 0;      // flows that were simulated: their number, or that of the classes
  std::size_t components = 0;        // sets of flows that share nothing with each other

  // Share of a link's capacity that it carried until the makespan.
  [[nodiscard]] double utilisation(const LinkList& links, std::size_t link) const;
  // The same for each of `bins` spans of time; bins as asked for in SolveOptions.
  [[nodiscard]] std::vector<double> utilisation_over_time(const LinkList& links, std::size_t link,
                                                          std::size_t bins) const;
};

// A fluid model: a flow waits for its route's latency after its start, then shares with max-min fair rates that are
// made anew whenever a flow begins or ends (the semantics of SimGrid's CM02 without its empirical factors). Flows that
// share nothing, not even through others, are solved apart. The same bits for any number of threads.
[[nodiscard]] Answer solve(const LinkList& links, const FlowList& flows, const SolveOptions& options);

// The largest |found - expected| / expected; where 0 is expected, the difference itself. As many of each.
[[nodiscard]] double worst_relative_difference(const std::vector<double>& found, const std::vector<double>& expected);

}  // namespace lastbit::sim::network

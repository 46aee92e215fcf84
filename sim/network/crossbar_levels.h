// Max-min levels where every flow crosses two links, one of either side: out of a port and into another.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "sim/network/port_values.h"

namespace lastbit::sim::network {

// Links stand in an order. A flow is owned by the earlier of its two links, whose level it has, so for every link
//     level = (capacity - levels of the flows on it that others own) / number of flows that it owns.
// Levels are max-min fair if of two links with a flow in common the earlier one's level is not above the later one's:
// every link is then full, and its own flows are the fastest on it. Links without a flow in common, as those of one
// side, may stand in any order; those that own no flow stand last.
//
// Both hold again after a flow came or went once the links behind it are gone through in order: a link whose level has
// changed takes the difference from the other side's residuals, all of them at once. A link that turns out to be full
// before one that stands before it, and with which it shares a flow, moves ahead of it and owns the flow from now on.
// (If the later of the two has a level below the earlier's l, then also before the earlier took l for their flow:
// (r - l) / (n - 1) < l means r / n < l.) To see this at once, the highest level of either side up to each place is
// kept: a link that is not below the other side's has no reason to move, and one that is goes ahead of those that are
// above it, be there a flow in common or not. Where a flow ends, its links' levels rise; they first move back to where
// these would stand if no other level changed, which leaves few to be moved ahead.
//
// Links of both sides are numbered together; the second side begins at second_side().

// What an update works on. Sides are rounded up to whole blocks.
struct CrossbarState {
  std::size_t width[2] = {0, 0};  // links across from one of the first side, of the second
  PortValues capacity;
  PortValues residual;  // capacity less the levels of flows that others own
  PortValues owned;     // flows that the link owns
  PortValues share;     // 1 / owned, of links that own flows
  PortValues level;     // as residuals of the other side have it; 0 of links that own none
  std::vector<std::uint32_t> order;
  std::vector<std::uint32_t> position;  // in the order
  std::size_t owning = 0;               // links that own flows
  std::vector<double> highest;          // [places + 1][sides]: levels before the place, at most, less rounding
  std::size_t words = 0;                // of a link in owns
  std::vector<std::uint64_t> owns;      // [links][words]: a bit for each link whose flow with this one it owns
  std::vector<std::uint32_t> risen;     // links that the end of a flow left more to share
  std::vector<std::uint32_t> emptied;   // links that own nothing any more and still stand among those that do
  std::vector<std::uint32_t> kept;      // of a move: links that stay before the one that moves
  bool afresh = false;                  // flows came since the last update: all places are to be gone through
  std::vector<std::pair<std::uint32_t, std::uint32_t>> moved;  // flows that changed owners: who had it, who has it

  [[nodiscard]] std::size_t links() const { return level.size(); }
  [[nodiscard]] std::size_t second_side() const { return width[1]; }
};

class CrossbarLevels {
 public:
  // Capacities of the two sides' links in B/s; the second side's numbers begin at first.size() rounded up.
  CrossbarLevels(const std::vector<double>& first, const std::vector<double>& second);

  [[nodiscard]] std::size_t second_side() const { return state_.second_side(); }
  [[nodiscard]] std::size_t links() const { return state_.links(); }
  // The flow from link `from` of the first side to link `to` of the second; there is at most one at a time.
  void add(std::uint32_t from, std::uint32_t to);
  void remove(std::uint32_t from, std::uint32_t to);
  // Puts order and levels right again.
  void update();

  // By link: levels; the number of flows that have it: of none, the link need not be full.
  [[nodiscard]] const PortValues& level() const { return state_.level; }
  [[nodiscard]] const PortValues& owned() const { return state_.owned; }
  [[nodiscard]] bool owned_by_first(std::uint32_t from, std::uint32_t to) const {
    return state_.position[from] < state_.position[to];
  }
  // The order's first places are those of links that own flows.
  [[nodiscard]] std::size_t owning() const { return state_.owning; }
  [[nodiscard]] std::uint32_t in_order(std::size_t place) const { return state_.order[place]; }
  // What no level up to this place exceeds, rounding aside; never less than at the place before.
  [[nodiscard]] double highest_up_to(std::size_t place) const {
    return std::max(state_.highest[2 * place + 2], state_.highest[2 * place + 3]);
  }
  // Flows that changed owners in the last update, in this order: the link that had it and the one that has it.
  [[nodiscard]] const std::vector<std::pair<std::uint32_t, std::uint32_t>>& moved() const { return state_.moved; }

 private:
  struct Pair {
    std::uint32_t owner, other;
  };
  [[nodiscard]] Pair pair_of(std::uint32_t from, std::uint32_t to) const;
  void set_owner(Pair pair, bool owns);
  void gather_owning();

  CrossbarState state_;
  std::uint32_t updates_ = 0;
};

}  // namespace lastbit::sim::network

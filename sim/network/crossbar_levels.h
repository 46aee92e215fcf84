// Max-min levels where every flow crosses two links, one of either side: out of a port and into another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "sim/network/port_values.h"

namespace lastbit::sim::network {

// Links stand in the order in which they are full. A flow is owned by the earlier of its two links, whose level it has,
// so for every link
//     level = (capacity - levels of the flows on it that others own) / number of flows that it owns,
// and the order is right if no link's level is below the one before. Both hold again after a flow came or went once the
// links behind it are gone through in order: a link whose level has changed takes the difference from the other side's
// residuals, all of them at once, and a link that turns out to be full before its predecessor moves ahead of it, which
// changes the owner of the one flow that they may share. (If the later of two links has a level below the earlier's
// l, then also before the earlier took l for each flow in common: (r - k l) / (n - k) < l means r / n < l. So moving
// ahead is right, one place at a time.) Where a flow ends, its links' levels rise; they first move back to where these
// would stand if no other level changed, which leaves few to be moved ahead one by one. Links that another passes
// either way are gone through again from the first on that shares a flow with it.
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
  std::size_t words = 0;                // of a link in owns
  std::vector<std::uint64_t> owns;      // [links][words]: a bit for each link whose flow with this one it owns
  std::size_t owning = 0;               // links that own flows
  std::vector<std::uint32_t> risen;     // links that the end of a flow left more to share
  std::size_t first_changed = 0;        // position before which order and levels are right, what has risen aside
  std::vector<std::pair<std::uint32_t, std::uint32_t>> moved;  // pairs (from, to) that changed places

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

  // By link: levels; the number of flows that have it: of none, the link is not full.
  [[nodiscard]] const PortValues& level() const { return state_.level; }
  [[nodiscard]] const PortValues& owned() const { return state_.owned; }
  // The link at a place of the order, in which levels of links that own flows never fall, rounding aside.
  [[nodiscard]] std::uint32_t in_order(std::size_t place) const { return state_.order[place]; }
  [[nodiscard]] bool owned_by_first(std::uint32_t from, std::uint32_t to) const {
    return state_.position[from] < state_.position[to];
  }
  // Pairs (from, to) that changed places, at least once, in the last update.
  [[nodiscard]] const std::vector<std::pair<std::uint32_t, std::uint32_t>>& moved() const { return state_.moved; }

 private:
  struct Pair {
    std::uint32_t owner, other;
  };
  [[nodiscard]] Pair pair_of(std::uint32_t from, std::uint32_t to) const;
  void set_owner(Pair pair, bool owns);
  void own(std::uint32_t link, double flows);  // more

  CrossbarState state_;
  std::uint32_t updates_ = 0;
  bool added_ = false;  // since the last update
};

}  // namespace lastbit::sim::network

#include "sim/network/crossbar_levels.h"

#include <algorithm>
#include <numeric>

#include "sim/network/crossbar_update.h"

namespace lastbit::sim::network {
namespace {

// Residuals are kept by adding and subtracting; every so many updates all are made anew, so that rounding errors of
// 2^-53 of a capacity a change do not add up. They are made anew as well when flows have come: until the order is right
// again a large link may take more from a small one's residual, and give it back, than leaves the small one's digits.
constexpr std::uint32_t kUpdatesBetweenRefreshes = 256;

std::size_t whole_blocks(std::size_t count) { return (count + kCrossbarBlock - 1) / kCrossbarBlock * kCrossbarBlock; }

}  // namespace

CrossbarLevels::CrossbarLevels(const std::vector<double>& first, const std::vector<double>& second) {
  CrossbarState& s = state_;
  s.width[0] = whole_blocks(second.size());
  s.width[1] = whole_blocks(first.size());
  const std::size_t links = s.width[0] + s.width[1];
  s.capacity.assign(links, 1);
  std::ranges::copy(first, s.capacity.data());
  std::ranges::copy(second, s.capacity.data() + s.width[1]);
  s.residual = s.capacity;
  s.owned.assign(links, 0);
  s.share.assign(links, 0);
  s.level.assign(links, 0);
  s.order.resize(links);
  std::iota(s.order.begin(), s.order.end(), 0U);
  s.position = s.order;
  s.order.push_back(0);  // the loops look at the next one
  s.highest.assign(2 * (links + 1), 0);
  s.words = (links + 63) / 64;
  s.owns.assign(links * s.words + 1, 0);  // the loops read whole words from any byte on
}

CrossbarLevels::Pair CrossbarLevels::pair_of(std::uint32_t from, std::uint32_t to) const {
  return owned_by_first(from, to) ? Pair{from, to} : Pair{to, from};
}

void CrossbarLevels::set_owner(Pair pair, bool owns) {
  const std::uint64_t bit = std::uint64_t{1} << (pair.other % 64);
  std::uint64_t& word = state_.owns[pair.owner * state_.words + pair.other / 64];
  word = owns ? word | bit : word & ~bit;
}

void CrossbarLevels::add(std::uint32_t from, std::uint32_t to) {
  state_.afresh = true;
  const Pair pair = pair_of(from, to);
  set_owner(pair, true);
  state_.owned[pair.owner] += 1;
  state_.residual[pair.other] -= state_.level[pair.owner];
}

void CrossbarLevels::remove(std::uint32_t from, std::uint32_t to) {
  const Pair pair = pair_of(from, to);
  set_owner(pair, false);
  state_.owned[pair.owner] -= 1;
  state_.share[pair.owner] = 1 / state_.owned[pair.owner];
  state_.residual[pair.other] += state_.level[pair.owner];
  state_.risen.push_back(pair.other);
  if (state_.owned[pair.owner] > 0) {
    state_.risen.push_back(pair.owner);
  } else {
    state_.level[pair.owner] = 0;
    state_.emptied.push_back(pair.owner);
  }
}

// Any link may own flows after some were added. One that owns none and shares a flow with another stands behind it, so
// it may go behind all that own some.
void CrossbarLevels::gather_owning() {
  CrossbarState& s = state_;
  const auto end = s.order.begin() + static_cast<std::ptrdiff_t>(links());
  const auto idle = std::stable_partition(s.order.begin(), end, [&s](std::uint32_t link) { return s.owned[link] > 0; });
  s.owning = static_cast<std::size_t>(idle - s.order.begin());
  for (std::uint32_t at = 0; at < links(); ++at) s.position[s.order[at]] = at;
  for (std::size_t link = 0; link < links(); ++link) s.share[link] = 1 / s.owned[link];
  s.emptied.clear();
}

void CrossbarLevels::update() {
  state_.moved.clear();
  if (++updates_ % kUpdatesBetweenRefreshes == 0) refresh_residuals(state_);
  if (state_.afresh) gather_owning();
  update_levels(state_);
  if (state_.afresh) {
    refresh_residuals(state_);
    update_levels(state_);
    state_.afresh = false;
  }
}

}  // namespace lastbit::sim::network

#include "sim/network/crossbar_loops.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/network/crossbar_loops.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lastbit::sim::network::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A link moves ahead of another when it is full before it by more than this, relative.
constexpr double kRounding = 1e-13;

// to[i] -= by where bit i is set.
HWY_INLINE void subtract_where(double* HWY_RESTRICT to, const std::uint64_t* HWY_RESTRICT bits, double by,
                               std::size_t count) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const hn::RebindToUnsigned<decltype(d)> u;
  const auto change = hn::Set(d, by);
  const auto bit_of_lane = hn::Shl(hn::Set(u, 1), hn::Iota(u, 0));
  for (std::size_t begin = 0; begin < count; begin += 64) {
    std::uint64_t word = bits[begin / 64];
    if (word == 0) continue;
    const std::size_t end = std::min(count, begin + 64);
    for (std::size_t i = begin; i < end; i += hn::Lanes(d), word >>= hn::Lanes(d)) {
      const auto where = hn::RebindMask(d, hn::TestBit(hn::Set(u, word), bit_of_lane));
      hn::StoreU(hn::Sub(hn::LoadU(d, to + i), hn::IfThenElseZero(where, change)), d, to + i);
    }
  }
}

double least(const double* values, std::size_t count) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const std::size_t lanes = hn::Lanes(d);
  auto lowest = hn::LoadU(d, values);
  auto other = lowest;  // two, so that one need not wait for the other
  std::size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    lowest = hn::Min(lowest, hn::LoadU(d, values + i));
    other = hn::Min(other, hn::LoadU(d, values + i + lanes));
  }
  for (; i < count; i += lanes) lowest = hn::Min(lowest, hn::LoadU(d, values + i));
  return hn::GetLane(hn::MinOfLanes(d, hn::Min(lowest, other)));
}

std::size_t find_equal(const double* values, std::size_t begin, std::size_t count, double value) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto wanted = hn::Set(d, value);
  for (; begin < count && begin % hn::Lanes(d) != 0; ++begin)
    if (values[begin] == value) return begin;
  for (; begin < count; begin += hn::Lanes(d)) {
    const auto found = hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, values + begin), wanted));
    if (found >= 0) return begin + static_cast<std::size_t>(found);
  }
  return count;
}

void advance_clocks(CrossbarClocks& clocks, const double* level, const double* owned, double now_s) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto now = hn::Set(d, now_s);
  for (std::size_t i = 0; i < clocks.level.size(); i += hn::Lanes(d)) {
    const auto before = hn::LoadU(d, &clocks.level[i]);
    const auto after = hn::LoadU(d, level + i);
    const auto full = hn::Gt(hn::LoadU(d, owned + i), hn::Zero(d));
    const auto moves = hn::And(full, hn::Ne(before, after));
    const auto since = hn::LoadU(d, &clocks.service_s[i]);
    const auto service = hn::LoadU(d, &clocks.service[i]);
    const auto reading = hn::Add(service, hn::Mul(before, hn::Sub(now, since)));
    const auto service_now = hn::IfThenElse(moves, reading, service);
    const auto since_now = hn::IfThenElse(moves, now, since);
    const auto left = hn::Sub(hn::LoadU(d, &clocks.earliest[i]), service_now);
    hn::StoreU(hn::IfThenElse(moves, after, before), d, &clocks.level[i]);
    hn::StoreU(service_now, d, &clocks.service[i]);
    hn::StoreU(since_now, d, &clocks.service_s[i]);
    const auto finish = hn::Add(since_now, hn::Div(left, after));
    hn::StoreU(hn::IfThenElse(full, finish, hn::Inf(d)), d, &clocks.finish_s[i]);
  }
}

// The state by pointers: stores to one array could otherwise change the others' places for all that the compiler knows.
class Update {
 public:
  explicit Update(CrossbarState& state)
      : state_(state),
        capacity_(state.capacity.data()),
        alive_(state.alive.data()),
        residual_(state.residual.data()),
        owned_(state.owned.data()),
        share_(state.share.data()),
        level_(state.level.data()),
        owns_(state.owns.data()),
        words_(state.words),
        order_(state.order.data()),
        position_(state.position.data()),
        second_side_(state.width[1]),
        wide_{state.width[0], state.width[1]} {}

  void run() {
    const std::size_t links = state_.links();
    // Equal levels up to rounding could change places for ever; so many moves never happen otherwise.
    moves_left_ = links * links;
    for (std::size_t at = state_.first_changed; at < links; ++at) {
      const std::uint32_t link = order_[at];
      at = settled(link, at);
      if (owned_[link] == 0) continue;
      const double level = residual_[link] * share_[link];  // a quotient would take three times as long
      const double change = level - level_[link];
      if (change == 0) continue;
      level_[link] = level;
      take_from_others(link, change);
    }
  }

  void take_from_others(std::uint32_t link, double change) {
    const bool first = link < second_side_;
    subtract_where(residual_ + (first ? second_side_ : 0), owns_ + link * words_, change, wide_[first ? 0 : 1]);
  }

 private:
  // Moves the link ahead of all before which it is full; its place then.
  HWY_INLINE std::size_t settled(std::uint32_t link, std::size_t at) {
    const std::size_t from = at;
    for (; at > 0 && moves_left_ > 0; --at, --moves_left_) {
      const std::uint32_t before = order_[at - 1];
      if (!precedes(link, before)) break;
      order_[at] = before;
      position_[before] = static_cast<std::uint32_t>(at);
      change_owner(before, link);
    }
    if (at != from) {
      order_[at] = link;
      position_[link] = static_cast<std::uint32_t>(at);
    }
    return at;
  }

  HWY_INLINE bool precedes(std::uint32_t link, std::uint32_t before) const {
    const double owned = owned_[link];
    // Owning nothing, it is overtaken if flows take more than there is.
    if (owned == 0) return residual_[link] < -kRounding * capacity_[link];
    return owned_[before] == 0 || residual_[link] < level_[before] * (1 - kRounding) * owned;
  }

  // The flow between two links, if there is one, from the first's to the second's.
  HWY_INLINE void change_owner(std::uint32_t before, std::uint32_t link) {
    const bool link_first = link < second_side_;
    if (link_first == (before < second_side_)) return;
    const std::uint32_t from = link_first ? link : before;
    const std::uint32_t to = link_first ? before : link;
    const std::size_t column = to - second_side_;
    if (alive_[from * wide_[0] + column] == 0) return;
    owns_[from * words_ + column / 64] ^= std::uint64_t{1} << (column % 64);
    owns_[to * words_ + from / 64] ^= std::uint64_t{1} << (from % 64);
    share_[before] = 1 / (owned_[before] -= 1);
    share_[link] = 1 / (owned_[link] += 1);
    residual_[link] += level_[before];
    residual_[before] -= level_[link];
    state_.moved.emplace_back(from, to);
  }

  CrossbarState& state_;
  const double* capacity_;
  const std::uint8_t* alive_;
  double* residual_;
  double* owned_;
  double* share_;
  double* level_;
  std::uint64_t* owns_;
  std::size_t words_;
  std::uint32_t* order_;
  std::uint32_t* position_;
  std::size_t second_side_;
  std::size_t wide_[2];
  std::size_t moves_left_ = 0;
};

void update_levels(CrossbarState& state) { Update(state).run(); }

void refresh_residuals(CrossbarState& state) {
  state.residual = state.capacity;
  Update update(state);
  for (std::uint32_t link = 0; link < state.links(); ++link)
    if (state.owned[link] > 0) update.take_from_others(link, state.level[link]);
}

}  // namespace lastbit::sim::network::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lastbit::sim::network {

HWY_EXPORT(least);
HWY_EXPORT(find_equal);
HWY_EXPORT(advance_clocks);
HWY_EXPORT(update_levels);
HWY_EXPORT(refresh_residuals);

double least(const double* values, std::size_t count) { return HWY_DYNAMIC_DISPATCH(least)(values, count); }
std::size_t find_equal(const double* values, std::size_t begin, std::size_t count, double value) {
  return HWY_DYNAMIC_DISPATCH(find_equal)(values, begin, count, value);
}
void advance_clocks(CrossbarClocks& clocks, const double* level, const double* owned, double now_s) {
  HWY_DYNAMIC_DISPATCH(advance_clocks)(clocks, level, owned, now_s);
}
void update_levels(CrossbarState& state) { HWY_DYNAMIC_DISPATCH(update_levels)(state); }
void refresh_residuals(CrossbarState& state) { HWY_DYNAMIC_DISPATCH(refresh_residuals)(state); }

}  // namespace lastbit::sim::network
#endif

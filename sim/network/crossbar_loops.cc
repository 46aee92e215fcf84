#include "sim/network/crossbar_loops.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/network/crossbar_loops.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lastbit::sim::network::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

static_assert(std::endian::native == std::endian::little, "bits are read as bytes and as words");

// A link moves ahead of another when it is full before it by more than this, relative.
constexpr double kRounding = 1e-13;
constexpr double kBit[2] = {0, 1};

// to[i] -= by where bit i is set. Up to seven bytes past the last bit may be read.
HWY_INLINE void subtract_where(double* HWY_RESTRICT to, const std::uint8_t* HWY_RESTRICT bits, double by,
                               std::size_t count) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const hn::RebindToUnsigned<decltype(d)> u;
  const auto change = hn::Set(d, by);
  const auto bit_of_lane = hn::Shl(hn::Set(u, 1), hn::Iota(u, 0));
  for (std::size_t begin = 0; begin < count; begin += 64, to += 64, bits += 8) {
    std::uint64_t word;
    std::memcpy(&word, bits, sizeof word);
    const auto all = hn::Set(u, word);
    const auto subtract_at = [&](std::size_t i) HWY_ATTR {
      const auto where = hn::RebindMask(d, hn::TestBit(all, hn::ShiftLeftSame(bit_of_lane, static_cast<int>(i))));
      const auto before = hn::Load(d, to + i);
      hn::Store(hn::IfThenElse(where, hn::Sub(before, change), before), d, to + i);
    };
    if (count - begin >= 64) {
#pragma GCC unroll 16
      for (std::size_t i = 0; i < 64; i += hn::Lanes(d)) subtract_at(i);
    } else {
      for (std::size_t i = 0; i < count - begin; i += hn::Lanes(d)) subtract_at(i);
    }
  }
}

double least(const double* values, std::size_t count) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const std::size_t lanes = hn::Lanes(d);
  auto lowest = hn::Load(d, values);
  auto other = lowest;  // two, so that one need not wait for the other
  std::size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    lowest = hn::Min(lowest, hn::Load(d, values + i));
    other = hn::Min(other, hn::Load(d, values + i + lanes));
  }
  for (; i < count; i += lanes) lowest = hn::Min(lowest, hn::Load(d, values + i));
  return hn::GetLane(hn::MinOfLanes(d, hn::Min(lowest, other)));
}

void find_equal(const double* values, std::size_t count, double value, std::uint64_t* bits) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto wanted = hn::Set(d, value);
  for (std::size_t begin = 0; begin < count; begin += 64) {
    std::uint64_t word = 0;
    for (std::size_t i = begin; i < std::min(count, begin + 64); i += hn::Lanes(d)) {
      const auto found = hn::Eq(hn::Load(d, values + i), wanted);
#if HWY_TARGET <= HWY_AVX3
      word |= std::uint64_t{found.raw} << (i - begin);
#else
      std::uint8_t lanes[8];  // Highway asks for eight and fills the first
      hn::StoreMaskBits(d, found, lanes);
      word |= std::uint64_t{lanes[0]} << (i - begin);
#endif
    }
    bits[begin / 64] = word;
  }
}

// Adds with compensation (Kahan 1965): otherwise each event of any link would cost every clock half a unit in the last
// place.
void advance_clocks(CrossbarClocks& clocks, const double* level, double now_s) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto passed_s = hn::Set(d, now_s - clocks.now_s);
  double* service = clocks.service.data();
  double* excess = clocks.excess.data();
  const std::size_t links = clocks.service.size();
  for (std::size_t i = 0; i < links; i += hn::Lanes(d)) {
    const auto before = hn::Load(d, service + i);
    const auto more = hn::Sub(hn::Mul(hn::Load(d, level + i), passed_s), hn::Load(d, excess + i));
    const auto after = hn::Add(before, more);
    hn::Store(hn::Sub(hn::Sub(after, before), more), d, excess + i);
    hn::Store(after, d, service + i);
  }
  clocks.now_s = now_s;
}

void find_finishes(CrossbarClocks& clocks, const double* level) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto now_s = hn::Set(d, clocks.now_s);
  const auto never = hn::Inf(d);
  const double* service = clocks.service.data();
  const double* earliest = clocks.earliest.data();
  double* finish_s = clocks.finish_s.data();
  const std::size_t links = clocks.service.size();
  auto first_s = never;
  for (std::size_t i = 0; i < links; i += hn::Lanes(d)) {
    const auto speed = hn::Load(d, level + i);
    const auto left = hn::Sub(hn::Load(d, earliest + i), hn::Load(d, service + i));
    const auto runs = hn::Gt(speed, hn::Zero(d));
    const auto at_s = hn::IfThenElse(runs, hn::Add(now_s, hn::Div(left, speed)), never);
    hn::Store(at_s, d, finish_s + i);
    first_s = hn::Min(first_s, at_s);
  }
  clocks.first_s = hn::GetLane(hn::MinOfLanes(d, first_s));
}

// The state's arrays by pointers: a store could change the places of a vector's elements for all that the compiler
// knows.
struct Arrays {
  explicit Arrays(CrossbarState& s)
      : links(s.links()),
        second_side(s.second_side()),
        width{s.width[0], s.width[1]},
        words(s.words),
        capacity(s.capacity.data()),
        residual(s.residual.data()),
        owned(s.owned.data()),
        share(s.share.data()),
        level(s.level.data()),
        order(s.order.data()),
        position(s.position.data()),
        owns(s.owns.data()) {}

  std::size_t links, second_side, width[2], words;
  const double* capacity;
  double* residual;
  double* owned;
  double* share;
  double* level;
  std::uint32_t* order;
  std::uint32_t* position;
  std::uint64_t* owns;

  void place(std::uint32_t link, std::size_t at) const {
    order[at] = link;
    position[link] = static_cast<std::uint32_t>(at);
  }

  // The flow between two links, if there is one and `from` owns it, is `to`'s from now on. False without one.
  HWY_INLINE bool give(std::uint32_t from, std::uint32_t to) const {
    std::uint64_t& word = owns[from * words + to / 64];
    const std::uint64_t bit = std::uint64_t{1} << (to % 64);
    if ((word & bit) == 0) return false;
    word ^= bit;
    owns[to * words + from / 64] |= std::uint64_t{1} << (from % 64);
    return true;
  }

  // Flows that the link owns run faster by this: less is left to links across. Without a branch or a table for the
  // side: loads wait for the addresses of stores.
  HWY_INLINE void take_across(std::uint32_t link, double change) const {
    const std::size_t first = link < second_side ? 1 : 0;
    const std::size_t across = second_side & (0 - first);
    subtract_where(residual + across, reinterpret_cast<const std::uint8_t*>(owns + link * words) + across / 8, change,
                   width[1 - first]);
  }

  // The link's level for what is left to it; by how much it rises.
  HWY_INLINE double put_right(std::uint32_t link, double left) const {
    const double now = left * share[link];  // a quotient would take three times as long
    const double change = now - level[link];
    level[link] = now;
    return change;
  }

  // The level that a link at this place has at least; infinity behind one that owns nothing.
  [[nodiscard]] double least_level(std::size_t at) const {
    if (at == 0) return 0;
    const std::uint32_t before = order[at - 1];
    return owned[before] == 0 ? std::numeric_limits<double>::infinity() : level[before] * (1 - kRounding);
  }
};

// Whether flows take more from a link than it has.
HWY_INLINE bool overtaken(double residual, double capacity) { return residual < -kRounding * capacity; }

HWY_INLINE bool any_overtaken(const Arrays& a) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto allowed = hn::Set(d, -kRounding);
  auto found = hn::Lt(allowed, allowed);  // nowhere
  for (std::size_t i = 0; i < a.links; i += hn::Lanes(d))
    found = hn::Or(found, hn::Lt(hn::Load(d, a.residual + i), hn::Mul(allowed, hn::Load(d, a.capacity + i))));
  return !hn::AllFalse(d, found);
}

// Whether a link is full before another that stands before it.
HWY_INLINE bool precedes(double residual, double owned, double capacity, double level_before, double owned_before) {
  if (owned == 0) return overtaken(residual, capacity);
  return owned_before == 0 || residual < level_before * (1 - kRounding) * owned;
}

// Moves the link ahead of all before which it is full. The first place after its own from which links have to be gone
// through again: those that it passes before that place share no flow with it.
HWY_INLINE std::size_t move_ahead(CrossbarState& s, const Arrays& a, std::uint32_t link, std::size_t at,
                                  std::size_t& moves_left) {
  double residual = a.residual[link];
  double owned = a.owned[link];
  const double level = a.level[link];
  const bool owned_none = owned == 0;
  std::size_t affected = at + 1;
  for (; at > 0 && moves_left > 0; --at, --moves_left) {
    const std::uint32_t before = a.order[at - 1];
    if (!precedes(residual, owned, a.capacity[link], a.level[before], a.owned[before])) break;
    a.place(before, at);
    if (a.owned[before] == 0) affected = at;
    if (!a.give(before, link)) continue;
    affected = at;
    residual += a.level[before];
    owned += 1;
    a.residual[before] -= level;
    a.owned[before] -= 1;
    a.share[before] = 1 / a.owned[before];
    if (a.owned[before] == 0) {
      a.level[before] = 0;
      --s.owning;
    }
    s.moved.emplace_back(std::min(link, before), std::max(link, before));
  }
  a.place(link, at);
  a.residual[link] = residual;
  a.owned[link] = owned;
  a.share[link] = 1 / owned;
  if (owned_none && owned > 0) ++s.owning;
  return affected;
}

// Moves the link behind all that are full before it, by levels as they were. The first place from which links have to
// be gone through again.
HWY_INLINE std::size_t move_back(CrossbarState& s, const Arrays& a, std::uint32_t link) {
  double residual = a.residual[link];
  double owned = a.owned[link];
  const double level = a.level[link];
  const bool owned_some = owned > 0;
  std::size_t at = a.position[link];
  std::size_t affected = a.links;
  for (; at + 1 < a.links; ++at) {
    const std::uint32_t next = a.order[at + 1];
    if (a.owned[next] == 0) break;
    if (owned > 0 && a.level[next] * owned >= residual) break;
    a.place(next, at);
    if (!a.give(link, next)) continue;
    affected = std::min(affected, at);
    residual -= a.level[next];
    owned -= 1;
    a.residual[next] += level;
    a.owned[next] += 1;
    a.share[next] = 1 / a.owned[next];
    s.moved.emplace_back(std::min(link, next), std::max(link, next));
  }
  a.place(link, at);
  a.residual[link] = residual;
  a.owned[link] = owned;
  a.share[link] = 1 / owned;
  if (owned_some && owned == 0) {
    a.level[link] = 0;
    --s.owning;
  }
  return std::min(affected, at);
}

void update_levels(CrossbarState& s) {
  const Arrays a(s);
  std::size_t at = s.first_changed;
  for (const std::uint32_t link : s.risen) {
    const std::size_t from = a.position[link];
    const std::size_t affected = move_back(s, a, link);
    if (from < at && at <= a.position[link]) --at;  // the link of that place is one further ahead now
    at = std::min(at, affected);
  }
  if (at == a.links) return;
  // Equal levels up to rounding could change places for ever; so many moves never happen otherwise.
  std::size_t moves_left = a.links * a.links;
  std::size_t idle = 0;  // links before this place that own nothing
  std::uint32_t link = a.order[at];
  double left = a.residual[link];
  double least_level = a.least_level(at);
  while (true) {
    const double owned = a.owned[link];
    if (HWY_UNLIKELY(owned == 0 || left < least_level * owned)) {
      // Behind all that own flows: those left own none, and are as they should be if none of them is overtaken.
      if (owned == 0 && at - idle == s.owning && !any_overtaken(a)) break;
      std::size_t next = at + 1;
      if (owned != 0 || (at > 0 && overtaken(left, a.capacity[link]))) {
        next = move_ahead(s, a, link, at, moves_left);
        idle = 0;
      }
      if (a.owned[link] == 0) {
        ++idle;
      } else {
        a.take_across(link, a.put_right(link, a.residual[link]));
      }
      at = next;
      if (at == a.links) break;
      link = a.order[at];
      left = a.residual[link];
      least_level = a.least_level(at);
      continue;
    }
    // What is left to the next link by then, ahead of the stores that say so, too.
    const std::uint32_t next = a.order[at + 1];
    const double left_to_next = a.residual[next];
    const double change = a.put_right(link, left);
    left = left_to_next - change * kBit[a.owns[link * a.words + next / 64] >> (next % 64) & 1];
    least_level = a.level[link] * (1 - kRounding);
    a.take_across(link, change);
    link = next;
    if (++at == a.links) break;
  }
}

void refresh_residuals(CrossbarState& s) {
  s.residual = s.capacity;
  const Arrays a(s);
  for (std::uint32_t link = 0; link < a.links; ++link)
    if (a.owned[link] > 0) a.take_across(link, a.level[link]);
}

}  // namespace lastbit::sim::network::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lastbit::sim::network {

HWY_EXPORT(least);
HWY_EXPORT(find_equal);
HWY_EXPORT(advance_clocks);
HWY_EXPORT(find_finishes);
HWY_EXPORT(update_levels);
HWY_EXPORT(refresh_residuals);

double least(const double* values, std::size_t count) { return HWY_DYNAMIC_DISPATCH(least)(values, count); }
void find_equal(const double* values, std::size_t count, double value, std::uint64_t* bits) {
  HWY_DYNAMIC_DISPATCH(find_equal)(values, count, value, bits);
}
void advance_clocks(CrossbarClocks& clocks, const double* level, double now_s) {
  HWY_DYNAMIC_DISPATCH(advance_clocks)(clocks, level, now_s);
}
void find_finishes(CrossbarClocks& clocks, const double* level) { HWY_DYNAMIC_DISPATCH(find_finishes)(clocks, level); }
void update_levels(CrossbarState& state) { HWY_DYNAMIC_DISPATCH(update_levels)(state); }
void refresh_residuals(CrossbarState& state) { HWY_DYNAMIC_DISPATCH(refresh_residuals)(state); }

}  // namespace lastbit::sim::network
#endif

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
  const auto change = hn::Set(d, by);
#if HWY_TARGET <= HWY_AVX3
  // Bits are masks as they lie.
  static_assert(kCrossbarBlock == 8);
  const auto* masks = reinterpret_cast<const std::uint8_t*>(bits);
#pragma GCC unroll 8
  for (std::size_t block = 0; block < count / 8; ++block) {
    const auto before = hn::Load(d, to + block * 8);
    const auto where = hn::LoadMaskBits(d, masks + block);
    hn::Store(hn::IfThenElse(where, hn::Sub(before, change), before), d, to + block * 8);
  }
#else
  const hn::RebindToUnsigned<decltype(d)> u;
  const auto bit_of_lane = hn::Shl(hn::Set(u, 1), hn::Iota(u, 0));
  for (std::size_t begin = 0; begin < count; begin += 64) {
    std::uint64_t word = bits[begin / 64];
    if (word == 0) continue;
    const std::size_t end = std::min(count, begin + 64);
    for (std::size_t i = begin; i < end; i += hn::Lanes(d), word >>= hn::Lanes(d)) {
      const auto where = hn::RebindMask(d, hn::TestBit(hn::Set(u, word), bit_of_lane));
      const auto before = hn::Load(d, to + i);
      hn::Store(hn::IfThenElse(where, hn::Sub(before, change), before), d, to + i);
    }
  }
#endif
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

std::size_t find_equal(const double* values, std::size_t begin, std::size_t count, double value) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto wanted = hn::Set(d, value);
  for (; begin < count && begin % hn::Lanes(d) != 0; ++begin)
    if (values[begin] == value) return begin;
  for (; begin < count; begin += hn::Lanes(d)) {
    const auto found = hn::FindFirstTrue(d, hn::Eq(hn::Load(d, values + begin), wanted));
    if (found >= 0) return begin + static_cast<std::size_t>(found);
  }
  return count;
}

void advance_clocks(CrossbarClocks& clocks, const double* level, const double* owned, double now_s) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto now = hn::Set(d, now_s);
  auto first = hn::Inf(d);
  for (std::size_t i = 0; i < clocks.level.size(); i += hn::Lanes(d)) {
    const auto before = hn::Load(d, &clocks.level[i]);
    const auto after = hn::Load(d, level + i);
    const auto full = hn::Gt(hn::Load(d, owned + i), hn::Zero(d));
    const auto moves = hn::And(full, hn::Ne(before, after));
    const auto since = hn::Load(d, &clocks.service_s[i]);
    const auto service = hn::Load(d, &clocks.service[i]);
    const auto reading = hn::Add(service, hn::Mul(before, hn::Sub(now, since)));
    const auto service_now = hn::IfThenElse(moves, reading, service);
    const auto since_now = hn::IfThenElse(moves, now, since);
    const auto left = hn::Sub(hn::Load(d, &clocks.earliest[i]), service_now);
    hn::Store(hn::IfThenElse(moves, after, before), d, &clocks.level[i]);
    hn::Store(service_now, d, &clocks.service[i]);
    hn::Store(since_now, d, &clocks.service_s[i]);
    const auto finish = hn::IfThenElse(full, hn::Add(since_now, hn::Div(left, after)), hn::Inf(d));
    hn::Store(finish, d, &clocks.finish_s[i]);
    first = hn::Min(first, finish);
  }
  clocks.first_s = hn::GetLane(hn::MinOfLanes(d, first));
}

// Whether a link is full before another that stands before it.
HWY_INLINE bool precedes(double residual, double owned, double capacity, double level_before, double owned_before) {
  // Owning nothing, it is overtaken if flows take more than there is.
  if (owned == 0) return residual < -kRounding * capacity;
  return owned_before == 0 || residual < level_before * (1 - kRounding) * owned;
}

// The flow between two links, if there is one, from the first's to the second's.
void change_owner(CrossbarState& s, std::uint32_t before, std::uint32_t link) {
  const bool link_first = link < s.second_side();
  if (link_first == (before < s.second_side())) return;
  const std::uint32_t from = link_first ? link : before;
  const std::uint32_t to = link_first ? before : link;
  const std::size_t column = to - s.second_side();
  if (s.alive[from * s.width[0] + column] == 0) return;
  s.owns[from * s.words + column / 64] ^= std::uint64_t{1} << (column % 64);
  s.owns[to * s.words + from / 64] ^= std::uint64_t{1} << (from % 64);
  s.share[before] = 1 / (s.owned[before] -= 1);
  s.share[link] = 1 / (s.owned[link] += 1);
  s.residual[link] += s.level[before];
  s.residual[before] -= s.level[link];
  if (s.owned[before] == 0) s.level[before] = 0;
  s.moved.emplace_back(from, to);
}

// Moves the link ahead of all before which it is full; its place then.
HWY_NOINLINE std::size_t move_ahead(CrossbarState& s, std::uint32_t link, std::size_t at, std::size_t& moves_left) {
  for (; at > 0 && moves_left > 0; --at, --moves_left) {
    const std::uint32_t before = s.order[at - 1];
    if (!precedes(s.residual[link], s.owned[link], s.capacity[link], s.level[before], s.owned[before])) break;
    s.order[at] = before;
    s.position[before] = static_cast<std::uint32_t>(at);
    change_owner(s, before, link);
  }
  s.order[at] = link;
  s.position[link] = static_cast<std::uint32_t>(at);
  return at;
}

// Moves the link behind all that are full before it, by levels as they were.
HWY_NOINLINE void move_back(CrossbarState& s, std::uint32_t link) {
  std::size_t at = s.position[link];
  for (; at + 1 < s.links(); ++at) {
    const std::uint32_t next = s.order[at + 1];
    if (s.owned[next] == 0) break;
    if (s.owned[link] > 0 && s.level[next] * s.owned[link] >= s.residual[link]) break;
    s.order[at] = next;
    s.position[next] = static_cast<std::uint32_t>(at);
    change_owner(s, link, next);
  }
  s.order[at] = link;
  s.position[link] = static_cast<std::uint32_t>(at);
}

// By pointers: a store of a vector could change the arrays' places for all that the compiler knows.
void update_levels(CrossbarState& s) {
  for (const std::uint32_t link : s.risen) move_back(s, link);
  const std::size_t links = s.links();
  const std::size_t second_side = s.second_side();
  const std::size_t wide[2] = {s.width[0], s.width[1]};
  const std::size_t words = s.words;
  const std::uint32_t* order = s.order.data();
  const std::uint64_t* owns = s.owns.data();
  const double* capacity = s.capacity.data();
  const double* owned = s.owned.data();
  const double* share = s.share.data();
  double* residual = s.residual.data();
  double* level = s.level.data();
  // Equal levels up to rounding could change places for ever; so many moves never happen otherwise.
  std::size_t moves_left = links * links;
  for (std::size_t at = s.first_changed; at < links; ++at) {
    const std::uint32_t link = order[at];
    if (at > 0) {
      const std::uint32_t before = order[at - 1];
      if (HWY_UNLIKELY(precedes(residual[link], owned[link], capacity[link], level[before], owned[before])))
        at = move_ahead(s, link, at, moves_left);
    }
    if (owned[link] == 0) continue;
    const double now = residual[link] * share[link];  // a quotient would take three times as long
    const double change = now - level[link];
    level[link] = now;
    const bool first = link < second_side;
    subtract_where(residual + (first ? second_side : 0), owns + link * words, change, wide[first ? 0 : 1]);
  }
}

void refresh_residuals(CrossbarState& state) {
  state.residual = state.capacity;
  for (std::uint32_t link = 0; link < state.links(); ++link) {
    if (state.owned[link] == 0) continue;
    const bool first = link < state.second_side();
    subtract_where(state.residual.data() + (first ? state.second_side() : 0), &state.owns[link * state.words],
                   state.level[link], state.width[first ? 0 : 1]);
  }
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

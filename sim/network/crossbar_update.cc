#include "sim/network/crossbar_update.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "core/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/network/crossbar_update.cc"
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

// to[i] -= by where bit i is set, of kCount places or else of `count`. Up to seven bytes past the last bit may be read.
template <std::size_t kCount>
HWY_INLINE void subtract_where(double* HWY_RESTRICT to, const std::uint8_t* HWY_RESTRICT bits, double by,
                               std::size_t count) {
  if constexpr (kCount > 0) count = kCount;
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto change = hn::Set(d, by);
  for (std::size_t begin = 0; begin < count; begin += 64, to += 64, bits += 8) {
#if HWY_TARGET > HWY_AVX3  // without masks in registers of their own
    const hn::RebindToUnsigned<decltype(d)> u;
    const auto bit_of_lane = hn::Shl(hn::Set(u, 1), hn::Iota(u, 0));
    std::uint64_t word;
    std::memcpy(&word, bits, sizeof word);
    const auto all = hn::Set(u, word);
#endif
    const auto subtract_at = [&](std::size_t i) HWY_ATTR {
#if HWY_TARGET <= HWY_AVX3
      const auto where = hn::LoadMaskBits(d, bits + i / 8);
#else
      const auto where = hn::RebindMask(d, hn::TestBit(all, hn::ShiftLeftSame(bit_of_lane, static_cast<int>(i))));
#endif
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

// The state's arrays by pointers: a store could change the places of a vector's elements for all that the compiler
// knows. kWidth: links of either side, where that is known in advance.
template <std::size_t kWidth>
struct Arrays {
  explicit Arrays(CrossbarState& s)
      : links(kWidth > 0 ? 2 * kWidth : s.links()),
        second_side(kWidth > 0 ? kWidth : s.second_side()),
        width{kWidth > 0 ? kWidth : s.width[0], kWidth > 0 ? kWidth : s.width[1]},
        words(kWidth > 0 ? (2 * kWidth + 63) / 64 : s.words),
        capacity(s.capacity.data()),
        residual(s.residual.data()),
        owned(s.owned.data()),
        share(s.share.data()),
        level(s.level.data()),
        highest(s.highest.data()),
        order(s.order.data()),
        position(s.position.data()),
        owns(s.owns.data()) {}

  std::size_t links, second_side, width[2], words;
  const double* capacity;
  double* residual;
  double* owned;
  double* share;
  double* level;
  double* highest;
  std::uint32_t* order;
  std::uint32_t* position;
  std::uint64_t* owns;

  HWY_INLINE void place(std::uint32_t link, std::size_t at) const {
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

  // 1 if a link owns a flow that it shares with another, else 0. Without a branch.
  [[nodiscard]] HWY_INLINE double owns_shared(std::uint32_t link, std::uint32_t other) const {
    return kBit[owns[link * words + other / 64] >> (other % 64) & 1];
  }

  // The link owns so many flows, and this is left to it.
  HWY_INLINE void set_own(std::uint32_t link, double own, double left) const {
    residual[link] = left;
    owned[link] = own;
    share[link] = 1 / own;
  }

  // Flows that the link owns run faster by this: less is left to links across. Without a branch or a table for the
  // side: loads wait for the addresses of stores.
  HWY_INLINE void take_across(std::uint32_t link, double change) const {
    const std::size_t first = link < second_side ? 1 : 0;
    const std::size_t across = second_side & (0 - first);
    subtract_where<kWidth>(residual + across, reinterpret_cast<const std::uint8_t*>(owns + link * words) + across / 8,
                           change, width[1 - first]);
  }

  // The highest level before a place on the side across from a link.
  [[nodiscard]] HWY_INLINE double highest_across(std::uint32_t link, std::size_t at) const {
    return highest[2 * at + (link < second_side ? 1 : 0)];
  }

  // The link at a place has this level, less rounding: the highest ones before the next place.
  HWY_INLINE void raise_highest(std::uint32_t link, std::size_t at, double height) const {
    const std::size_t side = link < second_side ? 0 : 1;
    double* before = highest + 2 * at;
    before[2 + side] = std::max(before[side], height);
    before[3 - side] = before[1 - side];
  }
};

// For capacities further apart than crossbar_ports lets through: what rounding makes of them may have no order.
[[noreturn]] HWY_NOINLINE void fail_to_order() {
  throw core::Error(core::ErrorKind::kInternal, "links of a crossbar pass each other without an end");
}

// Whether flows take more from a link than it has.
HWY_INLINE bool overtaken(double residual, double capacity) { return residual < -kRounding * capacity; }

template <std::size_t kWidth>
HWY_INLINE bool any_overtaken(const Arrays<kWidth>& a) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto allowed = hn::Set(d, -kRounding);
  auto found = hn::Lt(allowed, allowed);  // nowhere
  for (std::size_t i = 0; i < a.links; i += hn::Lanes(d))
    found = hn::Or(found, hn::Lt(hn::Load(d, a.residual + i), hn::Mul(allowed, hn::Load(d, a.capacity + i))));
  return !hn::AllFalse(d, found);
}

// Moves links that own nothing any more behind all that do, and counts those; they share flows with none that they
// pass. The first place of another link.
template <std::size_t kWidth>
HWY_INLINE std::size_t retire_emptied(CrossbarState& s, const Arrays<kWidth>& a) {
  std::size_t first = a.links;
  for (const std::uint32_t link : s.emptied) {
    a.level[link] = 0;
    --s.owning;
    std::size_t at = a.position[link];
    first = std::min(first, at);
    for (; at < s.owning; ++at) a.place(a.order[at + 1], at);
    a.place(link, at);
  }
  s.emptied.clear();
  return first;
}

// A flow of `from` is now that of `to`, which stood behind: what is left to `from`, at the level of `to`.
template <std::size_t kWidth>
HWY_INLINE void lose(CrossbarState& s, const Arrays<kWidth>& a, std::uint32_t from, std::uint32_t to, double level) {
  a.set_own(from, a.owned[from] - 1, a.residual[from] - level);
  if (a.owned[from] == 0) s.emptied.push_back(from);
  s.moved.emplace_back(from, to);
}

// What is left to a link, and for how many flows, once it owns those that are faster than its share of that.
struct Share {
  double left, flows;
  std::size_t from;  // no link across that stands before this place is above the share
};

// The share of a link that has to move from a place: of the levels before it, which stand in any order, it takes the
// highest (by leaving out those below the mean that they make, as Michelot does, J. Optim. Theory Appl. 50, 1986).
template <std::size_t kWidth>
HWY_INLINE Share find_share(const Arrays<kWidth>& a, std::uint32_t link, std::size_t at) {
  Share share{a.residual[link], a.owned[link], at};
  double least = std::numeric_limits<double>::infinity();
  bool more = at > 0;
  while (more) {
    const std::uint32_t before = a.order[--share.from];
    const double level = a.level[before];
    if (a.owns_shared(before, link) != 0 && level * share.flows > share.left) {
      share.left += level;
      share.flows += 1;
      least = std::min(least, level);
    }
    const bool right = share.flows == 0 ? !overtaken(share.left, a.capacity[link])
                                        : share.left >= a.highest_across(link, share.from) * share.flows;
    more = share.from > 0 && !right;
  }
  double mean = 0;  // it rises, or rounding is all that is left
  while (HWY_UNLIKELY(least * share.flows < share.left && mean < share.left / share.flows)) {
    mean = share.left / share.flows;
    share.left = a.residual[link];
    share.flows = a.owned[link];
    least = std::numeric_limits<double>::infinity();
    for (std::size_t place = share.from; place < at; ++place) {
      const std::uint32_t before = a.order[place];
      if (a.owns_shared(before, link) == 0 || a.level[before] <= mean) continue;
      share.left += a.level[before];
      share.flows += 1;
      least = std::min(least, a.level[before]);
    }
  }
  return share;
}

// Links that stay before a moving one go ahead of another that it passes. These share a flow only if they are level
// with one another but for rounding: as good either way round.
template <std::size_t kWidth>
HWY_INLINE void pass_kept(CrossbarState& s, const Arrays<kWidth>& a, std::uint32_t before) {
  for (const std::uint32_t link : s.kept) {
    if (!a.give(before, link)) continue;
    a.set_own(link, a.owned[link] + 1, a.residual[link] + a.level[before]);
    lose(s, a, before, link, a.level[link]);
  }
}

// Moves a link that is full before others that stand before it ahead of those. The first place where another link
// stands from now on.
template <std::size_t kWidth>
HWY_INLINE std::size_t move_far_ahead(CrossbarState& s, const Arrays<kWidth>& a, std::uint32_t link, std::size_t at) {
  const Share share = find_share(a, link, at);
  double residual = a.residual[link];
  double owned = a.owned[link];
  const double level = a.level[link];
  if (owned == 0) ++s.owning;
  std::size_t to = at;
  std::size_t num_kept = 0;
  while (at > share.from) {
    const std::uint32_t before = a.order[--at];
    if (a.level[before] * share.flows <= share.left && a.owned[before] > 0) {
      s.kept.push_back(before);
      ++num_kept;
      continue;
    }
    a.place(before, to--);
    if (a.give(before, link)) {
      residual += a.level[before];
      owned += 1;
      lose(s, a, before, link, level);
    }
    if (HWY_UNLIKELY(num_kept > 0)) pass_kept(s, a, before);
  }
  if (HWY_UNLIKELY(owned == 0)) fail_to_order();
  a.place(link, to);
  a.set_own(link, owned, residual);
  if (HWY_UNLIKELY(num_kept > 0)) {
    for (const std::uint32_t other : s.kept) a.place(other, --to);
    s.kept.clear();
  }
  if (HWY_UNLIKELY(!s.emptied.empty())) (void)retire_emptied(s, a);
  return to;
}

// The same; most links move ahead of the last one only.
template <std::size_t kWidth>
HWY_INLINE std::size_t move_ahead(CrossbarState& s, const Arrays<kWidth>& a, std::uint32_t link, std::size_t at) {
  const std::uint32_t before = a.order[at - 1];
  const double level = a.level[before];
  const double shared = a.owns_shared(before, link);
  const double residual = a.residual[link] + level * shared;
  const double owned = a.owned[link] + shared;
  if (level * a.owned[link] <= a.residual[link] || residual < a.highest_across(link, at - 1) * owned)
    return move_far_ahead(s, a, link, at);
  a.place(before, at);
  a.place(link, at - 1);
  if (a.give(before, link)) {
    lose(s, a, before, link, a.level[link]);
    a.set_own(link, owned, residual);
    if (HWY_UNLIKELY(a.owned[before] == 0)) (void)retire_emptied(s, a);
  }
  return at - 1;
}

// Moves the link, which owns flows, behind all that are full before it, by levels as they were. The first place from
// which links have to be gone through again: those that it passes before share no flow with it.
template <std::size_t kWidth>
HWY_INLINE std::size_t move_back(CrossbarState& s, const Arrays<kWidth>& a, std::uint32_t link) {
  double residual = a.residual[link];
  double owned = a.owned[link];
  const double level = a.level[link];
  std::size_t at = a.position[link];
  std::size_t affected = a.links;
  for (; at + 1 < s.owning; ++at) {
    const std::uint32_t next = a.order[at + 1];
    if (owned > 0 && a.level[next] * owned >= residual) break;
    a.place(next, at);
    if (!a.give(link, next)) continue;
    affected = std::min(affected, at);
    residual -= a.level[next];
    owned -= 1;
    a.set_own(next, a.owned[next] + 1, a.residual[next] + level);
    s.moved.emplace_back(link, next);
  }
  a.place(link, at);
  a.set_own(link, owned, residual);
  if (owned == 0) {  // and it is the last of those that own flows
    a.level[link] = 0;
    --s.owning;
  }
  return std::min(affected, at);
}

// Goes through the links from a place on, up to one that has to move or to the last that owns flows: its place.
//
// The hot loop. It is bound by its stores, a side's residuals a link, and by branches that are known late: those to
// links that move. So what is left to the next link, and how high its level must be, is found ahead of the stores that
// say so, too. Of the link right before it, it counts whether they share a flow: of those that do not, most are near.
template <std::size_t kWidth>
HWY_INLINE std::size_t put_in_order(const Arrays<kWidth>& a, std::size_t at, std::size_t owning) {
  std::uint32_t link = a.order[at];
  if (at == 0) a.residual[link] = a.capacity[link];  // whatever rounding made of it
  double left = a.residual[link];
  double least_level = a.highest_across(link, at);
  while (at < owning) {
    if (HWY_UNLIKELY(left < least_level * a.owned[link])) break;
    const std::uint32_t next = a.order[at + 1];
    const double left_to_next = a.residual[next];
    const double level = left * a.share[link];  // a quotient would take three times as long
    const double change = level - a.level[link];
    a.level[link] = level;
    const double shared = a.owns_shared(link, next);
    left = left_to_next - change * shared;
    const double height = level * (1 - kRounding);
    least_level = std::max(a.highest_across(next, at), height * shared);
    a.raise_highest(link, at, height);
    a.take_across(link, change);
    link = next;
    ++at;
  }
  return at;
}

template <std::size_t kWidth>
HWY_INLINE void update_levels_of(CrossbarState& s) {
  const Arrays<kWidth> a(s);
  std::size_t at = s.afresh ? 0 : a.links;
  std::size_t moved_from = std::min(at, retire_emptied(s, a));
  for (const std::uint32_t link : s.risen) {
    if (a.owned[link] == 0) continue;
    const std::size_t from = a.position[link];
    const std::size_t affected = move_back(s, a, link);
    if (from < at && at <= a.position[link]) --at;  // the link of that place is one further ahead now
    at = std::min(at, affected);
    moved_from = std::min(moved_from, from);
  }
  s.risen.clear();
  for (; moved_from < std::min(at, s.owning); ++moved_from) {
    const std::uint32_t link = a.order[moved_from];
    a.raise_highest(link, moved_from, a.level[link] * (1 - kRounding));
  }
  if (at == a.links) return;
  // Far more than it takes to put any order right.
  std::size_t moves_left = a.links * a.links;
  while (true) {
    while ((at = put_in_order(a, at, s.owning)) < s.owning) {
      if (HWY_UNLIKELY(moves_left-- == 0)) fail_to_order();
      at = move_ahead(s, a, a.order[at], at);
    }
    if (!any_overtaken(a)) return;
    while (at < a.links && !overtaken(a.residual[a.order[at]], a.capacity[a.order[at]])) ++at;
    if (at == a.links || moves_left-- == 0) fail_to_order();
    at = move_far_ahead(s, a, a.order[at], at);
  }
}

// Sides of 64 links, a word of bits each, as of the GPUs of a leaf: a twentieth of the time less than by the loops for
// any width.
HWY_NOINLINE void update_levels_of_words(CrossbarState& s) { update_levels_of<64>(s); }
HWY_NOINLINE void update_any_levels(CrossbarState& s) { update_levels_of<0>(s); }

void update_levels(CrossbarState& s) {
  if (s.width[0] == 64 && s.width[1] == 64) {
    update_levels_of_words(s);
  } else {
    update_any_levels(s);
  }
}

void refresh_residuals(CrossbarState& s) {
  s.residual = s.capacity;
  const Arrays<0> a(s);
  for (std::uint32_t link = 0; link < a.links; ++link)
    if (a.owned[link] > 0) a.take_across(link, a.level[link]);
}

}  // namespace lastbit::sim::network::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lastbit::sim::network {

HWY_EXPORT(update_levels);
HWY_EXPORT(refresh_residuals);

void update_levels(CrossbarState& state) { HWY_DYNAMIC_DISPATCH(update_levels)(state); }
void refresh_residuals(CrossbarState& state) { HWY_DYNAMIC_DISPATCH(refresh_residuals)(state); }

}  // namespace lastbit::sim::network
#endif

#include "sim/network/crossbar_clocks.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/network/crossbar_clocks.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lastbit::sim::network::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE std::uint64_t bits_of(D d, hn::Mask<D> mask) {
#if HWY_TARGET <= HWY_AVX3
  (void)d;
  return mask.raw;
#else
  std::uint8_t lanes[8];  // Highway asks for eight and fills the first
  hn::StoreMaskBits(d, mask, lanes);
  return lanes[0];
#endif
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
  const auto due = hn::Set(d, clocks.first_s);
  for (std::size_t begin = 0; begin < links; begin += 64) {
    std::uint64_t word = 0;
    for (std::size_t i = begin; i < std::min(links, begin + 64); i += hn::Lanes(d))
      word |= bits_of(d, hn::Eq(hn::Load(d, finish_s + i), due)) << (i - begin);
    clocks.due[begin / 64] = word;
  }
}

double least_reading(const double* readings, std::size_t count) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  auto lowest = hn::Inf(d);
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) lowest = hn::Min(lowest, hn::Load(d, readings + i));
  return hn::GetLane(hn::MinOfLanes(d, lowest));
}

double take_out(double* readings, std::size_t count, double value, std::uint64_t* bits) {
  const hn::CappedTag<double, kCrossbarBlock> d;
  const auto wanted = hn::Set(d, value);
  const auto never = hn::Inf(d);
  auto lowest = never;
  for (std::size_t begin = 0; begin < count; begin += 64) {
    std::uint64_t word = 0;
    for (std::size_t i = begin; i < std::min(count, begin + 64); i += hn::Lanes(d)) {
      const auto reading = hn::Load(d, readings + i);
      const auto found = hn::Eq(reading, wanted);
      const auto rest = hn::IfThenElse(found, never, reading);
      hn::Store(rest, d, readings + i);
      lowest = hn::Min(lowest, rest);
      word |= bits_of(d, found) << (i - begin);
    }
    bits[begin / 64] = word;
  }
  return hn::GetLane(hn::MinOfLanes(d, lowest));
}

}  // namespace lastbit::sim::network::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lastbit::sim::network {

HWY_EXPORT(advance_clocks);
HWY_EXPORT(find_finishes);
HWY_EXPORT(least_reading);
HWY_EXPORT(take_out);

CrossbarClocks::CrossbarClocks(std::size_t links)
    : service(links, 0),
      excess(links, 0),
      earliest(links, std::numeric_limits<double>::infinity()),
      finish_s(links, std::numeric_limits<double>::infinity()),
      due((links + 63) / 64) {}

void advance_clocks(CrossbarClocks& clocks, const double* level, double now_s) {
  HWY_DYNAMIC_DISPATCH(advance_clocks)(clocks, level, now_s);
}
void find_finishes(CrossbarClocks& clocks, const double* level) { HWY_DYNAMIC_DISPATCH(find_finishes)(clocks, level); }
double least_reading(const double* readings, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(least_reading)(readings, count);
}
double take_out(double* readings, std::size_t count, double value, std::uint64_t* bits) {
  return HWY_DYNAMIC_DISPATCH(take_out)(readings, count, value, bits);
}

}  // namespace lastbit::sim::network
#endif

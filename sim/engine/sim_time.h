// Simulated time as a type of its own, so that it is never mixed up with counts, bytes or wall-clock time.
#pragma once

#include <compare>
#include <limits>

namespace lastbit::sim {

// A point of simulated time or a span of it, in seconds. A double rather than integer ticks: operator times come out
// of divisions (bytes over bandwidth) and the network's rates are arbitrary fractions, so ticks would round every
// one of them, while sums and maxima of doubles are the same on every IEEE machine and resolve 10 ns in a year.
struct SimTime {
  double s = 0;

  friend constexpr bool operator==(SimTime a, SimTime b) { return a.s == b.s; }
  friend constexpr auto operator<=>(SimTime a, SimTime b) { return a.s <=> b.s; }
  constexpr SimTime& operator+=(SimTime other) {
    s += other.s;
    return *this;
  }
};

constexpr SimTime operator+(SimTime a, SimTime b) { return {a.s + b.s}; }
constexpr SimTime operator-(SimTime a, SimTime b) { return {a.s - b.s}; }

// Later than everything that happens.
inline constexpr SimTime kNever{std::numeric_limits<double>::infinity()};

}  // namespace lastbit::sim

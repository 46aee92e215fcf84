#include "numerics/reduce.h"

#include <array>

namespace lastbit::numerics {
namespace {

using Lanes = std::array<float, kLanes>;

float add_lanes(const Lanes& lane) {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// term(i): the i-th term. Inlined per caller; the inner loop has a constant trip count and vectorises as it stands.
template <typename Term>
float reduce(std::int64_t count, Term term) {
  Lanes lane{};
  const std::int64_t whole = count - count % kLanes;
  for (std::int64_t base = 0; base < whole; base += kLanes)
    for (std::int64_t i = 0; i < kLanes; ++i) lane[static_cast<std::size_t>(i)] += term(base + i);
  for (std::int64_t i = whole; i < count; ++i) lane[static_cast<std::size_t>(i - whole)] += term(i);
  return add_lanes(lane);
}

}  // namespace

float sum(const float* x, std::int64_t count) {
  return reduce(count, [x](std::int64_t i) { return x[i]; });
}

float dot(const float* x, const float* y, std::int64_t count) {
  return reduce(count, [x, y](std::int64_t i) { return x[i] * y[i]; });
}

float sum_of_squares(const float* x, std::int64_t count) { return dot(x, x, count); }

}  // namespace lastbit::numerics

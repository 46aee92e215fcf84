#include "numerics/reduce.h"

#include <array>

namespace lastbit::numerics {
namespace {

template <typename T>
T add_lanes(const std::array<T, kLanes>& lane) {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

// term(i): the i-th term. Inlined per caller; the inner loop has a constant trip count and vectorises as it stands. The
// lanes are chains of additions, whose latency is the limit: wider vectors would wait as long for them.
template <typename T, typename Term>
T reduce(std::int64_t count, Term term) {
  std::array<T, kLanes> lane{};
  const std::int64_t whole = count - count % kLanes;
  for (std::int64_t base = 0; base < whole; base += kLanes)
    for (std::int64_t i = 0; i < kLanes; ++i) lane[static_cast<std::size_t>(i)] += term(base + i);
  for (std::int64_t i = whole; i < count; ++i) lane[static_cast<std::size_t>(i - whole)] += term(i);
  return add_lanes(lane);
}

template <typename T>
T sum_of(const T* x, std::int64_t count) {
  return reduce<T>(count, [x](std::int64_t i) { return x[i]; });
}

template <typename T>
T dot_of(const T* x, const T* y, std::int64_t count) {
  return reduce<T>(count, [x, y](std::int64_t i) { return x[i] * y[i]; });
}

}  // namespace

float sum(const float* x, std::int64_t count) { return sum_of(x, count); }
double sum(const double* x, std::int64_t count) { return sum_of(x, count); }

float dot(const float* x, const float* y, std::int64_t count) { return dot_of(x, y, count); }
double dot(const double* x, const double* y, std::int64_t count) { return dot_of(x, y, count); }

float sum_of_squares(const float* x, std::int64_t count) { return dot_of(x, x, count); }
double sum_of_squares(const double* x, std::int64_t count) { return dot_of(x, x, count); }

}  // namespace lastbit::numerics

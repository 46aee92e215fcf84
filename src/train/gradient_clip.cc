#include "train/gradient_clip.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"

namespace lastbit::train {
namespace {

constexpr std::size_t kRange = 1 << 16;
constexpr std::int64_t kLanes = 8;

template <typename T>
std::vector<std::span<T>> ranges_of(std::span<const std::span<T>> arrays) {
  std::vector<std::span<T>> ranges;
  for (const std::span<T> array : arrays)
    for (std::size_t begin = 0; begin < array.size(); begin += kRange)
      ranges.push_back(array.subspan(begin, std::min(kRange, array.size() - begin)));
  return ranges;
}

template <typename T>
double sum_of_squares(std::span<const T> range) {
  std::array<double, kLanes> lane{};
  const auto square = [x = range.data()](std::int64_t i) {
    return static_cast<double>(x[i]) * static_cast<double>(x[i]);
  };
  const std::int64_t count = std::ssize(range);
  const std::int64_t whole = count - count % kLanes;
  for (std::int64_t base = 0; base < whole; base += kLanes)
#pragma GCC unroll 8  // else the lanes live in memory
    for (std::int64_t i = 0; i < kLanes; ++i) lane[static_cast<std::size_t>(i)] += square(base + i);
  for (std::int64_t i = whole; i < count; ++i) lane[static_cast<std::size_t>(i - whole)] += square(i);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

template <typename T>
[[noreturn]] void fail_norm(std::span<const std::span<const T>> gradients) {
  for (std::size_t a = 0; a < gradients.size(); ++a)
    for (std::size_t i = 0; i < gradients[a].size(); ++i)
      if (!std::isfinite(gradients[a][i]))
        core::fail_input("gradient array {}: element {} is {}, expected a finite number", a, i, gradients[a][i]);
  core::fail_input("the gradients' sum of squares is beyond the largest double");
}

}  // namespace

template <typename T>
double gradient_norm(std::span<const std::span<const T>> gradients) {
  const std::vector<std::span<const T>> ranges = ranges_of(gradients);
  std::vector<double> sums(ranges.size());
  core::parallel_for(std::ssize(ranges), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto r = static_cast<std::size_t>(begin); r < static_cast<std::size_t>(end); ++r)
      sums[r] = sum_of_squares<T>(ranges[r]);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  if (!std::isfinite(total)) fail_norm(gradients);
  return std::sqrt(total);
}

double clip_factor(double norm, double max_norm) {
  if (!(max_norm > 0) || !std::isfinite(max_norm))
    core::fail_input("the largest gradient norm is {}, expected a finite number above 0", max_norm);
  if (!(norm >= 0) || !std::isfinite(norm)) core::fail_input("a gradient norm of {}, expected a finite number", norm);
  return std::min(1.0, max_norm / (norm + 1e-6));
}

template <typename T>
void scale_gradients(std::span<const std::span<T>> gradients, double factor) {
  const auto rounded = static_cast<T>(factor);
  if (!std::isfinite(rounded)) core::fail_input("gradients times {}, expected a finite number", factor);
  const std::vector<std::span<T>> ranges = ranges_of(gradients);
  core::parallel_for(std::ssize(ranges), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto r = static_cast<std::size_t>(begin); r < static_cast<std::size_t>(end); ++r)
      for (T& value : ranges[r]) value *= rounded;
  });
}

template <typename T>
double clip_gradients(std::span<const std::span<T>> gradients, double max_norm) {
  const std::vector<std::span<const T>> constant(gradients.begin(), gradients.end());
  const double norm = gradient_norm<T>(constant);
  const double factor = clip_factor(norm, max_norm);
  if (factor < 1) scale_gradients<T>(gradients, factor);
  return norm;
}

template double gradient_norm<float>(std::span<const std::span<const float>>);
template double gradient_norm<double>(std::span<const std::span<const double>>);
template void scale_gradients<float>(std::span<const std::span<float>>, double);
template void scale_gradients<double>(std::span<const std::span<double>>, double);
template double clip_gradients<float>(std::span<const std::span<float>>, double);
template double clip_gradients<double>(std::span<const std::span<double>>, double);

}  // namespace lastbit::train

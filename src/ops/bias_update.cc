#include "ops/bias_update.h"

#include <cmath>
#include <numeric>

#include "core/error.h"

namespace lastbit::ops {
namespace {

template <typename T>
void update(std::span<T> bias, std::span<const std::int64_t> load, double gamma, double tolerance) {
  const std::int64_t total = std::accumulate(load.begin(), load.end(), std::int64_t{0});
  const auto experts = static_cast<std::int64_t>(load.size());
  for (std::size_t i = 0; i < bias.size(); ++i) {
    const std::int64_t excess = load[i] * experts - total;  // experts * (load - mean), exact
    if (std::abs(static_cast<double>(excess)) <= tolerance * static_cast<double>(total)) continue;
    bias[i] += static_cast<T>(excess > 0 ? -gamma : gamma);
  }
}

}  // namespace

void update_bias(tensor::Tensor& bias, std::span<const std::int64_t> load, double gamma, double tolerance) {
  core::check(bias.size() == static_cast<std::int64_t>(load.size()), "update_bias: a load for each expert");
  if (bias.dtype() == tensor::DType::kF64)
    update(bias.mutable_values<double>(), load, gamma, tolerance);
  else
    update(bias.mutable_values<float>(), load, gamma, tolerance);
}

}  // namespace lastbit::ops

#include "model/taps.h"

#include <algorithm>
#include <cmath>

namespace lastbit::model {
namespace {

template <typename T>
void look(const std::string& name, std::span<const T> values, TapWatch& watch) {
  const auto bad = std::ranges::find_if(values, [](T value) { return !std::isfinite(value); });
  if (bad != values.end()) watch = {name, bad - values.begin(), static_cast<double>(*bad)};
}

}  // namespace

void Taps::watch(const std::string& name, const tensor::Tensor& tensor) const {
  if (!watch_->first_bad.empty()) return;
  const tensor::Tensor values = tensor.contiguous();
  if (values.dtype() == tensor::DType::kF32) look(name, values.values<float>(), *watch_);
  if (values.dtype() == tensor::DType::kF64) look(name, values.values<double>(), *watch_);
}

}  // namespace lastbit::model

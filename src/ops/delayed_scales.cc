#include "ops/delayed_scales.h"

#include <algorithm>

#include "core/error.h"

namespace lastbit::ops {

using tensor::Tensor;

DelayedScales::DelayedScales(const DelayedScales& other) : entries_(other.entries_), restored_(other.restored_) {}

DelayedScales& DelayedScales::operator=(const DelayedScales& other) {
  entries_ = other.entries_;
  restored_ = other.restored_;
  return *this;
}

float DelayedScales::scale(const std::string& tensor, const numerics::QuantizeRule& rule, std::size_t steps) {
  const std::scoped_lock lock(mutex_);
  const auto [entry, added] = entries_.try_emplace(tensor, Entry{numerics::DelayedScaling(rule, steps)});
  if (const auto before = added ? restored_.find(tensor) : restored_.end(); before != restored_.end()) {
    const auto history = std::as_const(before->second).values<float>();
    if (history.size() != steps)
      core::fail_input("delayed scaling: the history of '{}' has {} steps, expected {}", tensor, history.size(), steps);
    for (const float amax : history) entry->second.scaling.end_step(amax);
    restored_.erase(before);
  }
  return entry->second.scaling.scale();
}

void DelayedScales::observe(const std::string& tensor, float amax) {
  const std::scoped_lock lock(mutex_);
  float& seen = entries_.at(tensor).seen;
  seen = std::max(seen, amax);
}

void DelayedScales::end_step() {
  for (auto& [tensor, entry] : entries_) {
    entry.scaling.end_step(entry.seen);
    entry.seen = 0;
  }
}

tensor::NamedTensors DelayedScales::histories() const {
  tensor::NamedTensors result = restored_;
  for (const auto& [name, entry] : entries_) {
    const std::vector<float> history = entry.scaling.history();
    Tensor tensor = Tensor::empty(tensor::DType::kF32, {static_cast<std::int64_t>(history.size())});
    std::ranges::copy(history, tensor.mutable_values<float>().begin());
    result[name] = tensor;
  }
  return result;
}

void DelayedScales::restore(const tensor::NamedTensors& histories) {
  entries_.clear();
  restored_ = histories;
}

}  // namespace lastbit::ops

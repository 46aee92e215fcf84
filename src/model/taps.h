// Taps: intermediate results that a caller asks for by name.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "tensor/tensor.h"

namespace lastbit::model {

class Taps {
 public:
  Taps() = default;
  explicit Taps(std::set<std::string> wanted) : wanted_(std::move(wanted)) {}

  [[nodiscard]] bool wants(const std::string& name) const { return wanted_.contains(name); }
  [[nodiscard]] bool wants_prefix(const std::string& prefix) const {
    const auto first = wanted_.lower_bound(prefix);
    return first != wanted_.end() && first->starts_with(prefix);
  }
  // Keeps `tensor` if it was asked for; the bytes must not change afterwards.
  void record(const std::string& name, const tensor::Tensor& tensor) {
    if (wants(name)) found_[name] = tensor;
  }
  // The same for a tensor whose bytes will change.
  void record_copy(const std::string& name, const tensor::Tensor& tensor) {
    if (wants(name)) found_[name] = tensor.clone();
  }
  [[nodiscard]] tensor::NamedTensors take() { return std::move(found_); }

 private:
  std::set<std::string> wanted_;
  tensor::NamedTensors found_;
};

}  // namespace lastbit::model

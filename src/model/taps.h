// Taps: intermediate results that a caller asks for by name.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "tensor/tensor.h"

namespace lastbit::model {

// What a pass noticed about its taps, asked for or not, when somebody looks for where numbers go wrong.
struct TapWatch {
  std::string first_bad;     // the first tap with an element that is not finite; empty: none
  std::int64_t element = 0;  // its first such element
  double value = 0;
};

class Taps {
 public:
  Taps() = default;
  explicit Taps(std::set<std::string> wanted, TapWatch* watch = nullptr) : wanted_(std::move(wanted)), watch_(watch) {}

  [[nodiscard]] bool wants(const std::string& name) const { return wanted_.contains(name); }
  [[nodiscard]] bool wants_prefix(const std::string& prefix) const {
    const auto first = wanted_.lower_bound(prefix);
    return first != wanted_.end() && first->starts_with(prefix);
  }
  // Keeps `tensor` if it was asked for; the bytes must not change afterwards.
  void record(const std::string& name, const tensor::Tensor& tensor) {
    if (watch_ != nullptr) watch(name, tensor);
    if (wants(name)) found_[name] = tensor;
  }
  // The same for a tensor whose bytes will change.
  void record_copy(const std::string& name, const tensor::Tensor& tensor) {
    if (watch_ != nullptr) watch(name, tensor);
    if (wants(name)) found_[name] = tensor.clone();
  }
  [[nodiscard]] tensor::NamedTensors take() { return std::move(found_); }

 private:
  void watch(const std::string& name, const tensor::Tensor& tensor) const;

  std::set<std::string> wanted_;
  TapWatch* watch_ = nullptr;
  tensor::NamedTensors found_;
};

}  // namespace lastbit::model

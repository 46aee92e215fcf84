// What one run of an operator is given, checked against its entry.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "check/op_registry.h"
#include "core/error.h"
#include "tensor/tensor.h"

namespace lastbit::check {

// An option of a setting of kind kChoice with what it stands for.
template <typename T>
struct OpOption {
  const char* name;
  T value;
};

class OpArguments {
 public:
  // Errors: those of run_op that the entry alone decides.
  OpArguments(const OpEntry& op, const tensor::NamedTensors& inputs, const OpSettings& settings);

  [[nodiscard]] const std::string& op() const { return op_.name; }
  // Inputs are contiguous. tensor(): one that is there, find(): null where it is not.
  [[nodiscard]] const tensor::Tensor& tensor(const std::string& name) const;
  [[nodiscard]] const tensor::Tensor* find(const std::string& name) const;
  [[nodiscard]] bool has(const std::string& name) const { return find(name) != nullptr; }
  // Of the inputs of kFloat and kLogits.
  [[nodiscard]] tensor::DType dtype() const;
  // A size by its name in the entry's shapes.
  [[nodiscard]] std::int64_t size(const std::string& name) const;

  [[nodiscard]] bool given(const std::string& key) const { return given_.contains(key); }
  // Errors (bad input): neither given nor with a fallback.
  [[nodiscard]] std::int64_t whole(const std::string& key) const;
  [[nodiscard]] double number(const std::string& key) const;
  [[nodiscard]] bool flag(const std::string& key) const { return text(key) == "true"; }
  [[nodiscard]] const std::string& text(const std::string& key) const;
  template <typename T>
  [[nodiscard]] T choice(const std::string& key, const std::vector<OpOption<T>>& options) const {
    for (const OpOption<T>& option : options)
      if (text(key) == option.name) return option.value;
    core::check(false, "a setting's choices are those of its operator");
    return {};
  }

  // Errors (bad input): an element of an index input outside [least, end).
  void require_range(const std::string& name, std::int64_t least, std::int64_t end) const;
  // Errors (bad input): `input` is there without `other`, or a setting is given that `why` makes meaningless.
  void require_with(const std::string& input, const std::string& other) const;
  void refuse_settings(const std::vector<std::string>& keys, const std::string& why) const;

 private:
  void read_settings(const OpSettings& settings);
  void read_setting(const OpSetting& setting, const std::string& text);
  void read_inputs(const tensor::NamedTensors& inputs);
  [[nodiscard]] tensor::Tensor cast(const OpInput& input, const tensor::Tensor& tensor) const;
  void check_dtype(const OpInput& input, const tensor::Tensor& tensor);
  void check_shape(const OpInput& input, const tensor::Tensor& tensor);
  void check_values(const OpInput& input, const tensor::Tensor& tensor) const;

  const OpEntry& op_;
  tensor::NamedTensors inputs_;
  std::map<std::string, std::string> texts_;  // of every setting
  std::map<std::string, double> numbers_;
  std::map<std::string, std::string> given_;
  std::optional<tensor::DType> dtype_;
  std::string dtype_of_;  // the input that decided it
  std::map<std::string, std::int64_t> sizes_;
  std::optional<tensor::Shape> leading_;  // what "..." stands for
};

// Settings in the order of their fields.
[[nodiscard]] OpSetting whole_setting(std::string key, std::string fallback, std::int64_t least, std::int64_t most,
                                      std::string meaning);
[[nodiscard]] OpSetting number_setting(std::string key, std::string fallback, double least, double most,
                                       std::string meaning);
[[nodiscard]] OpSetting flag_setting(std::string key, bool fallback, std::string meaning);
[[nodiscard]] OpSetting choice_setting(std::string key, std::vector<std::string> choices, std::string meaning);
[[nodiscard]] OpSetting text_setting(std::string key, std::string fallback, std::string meaning);

// A magnitude that no factor of an operator reaches, far enough from the largest FP32 number.
inline constexpr double kLargeFactor = 1e30;
// The least factor of those that must be above 0.
inline constexpr double kSmallFactor = 1e-30;
// More tokens, experts or steps than anybody has; products of two stay below 2^63.
inline constexpr std::int64_t kManyTokens = std::int64_t{1} << 40;
inline constexpr std::int64_t kManyExperts = std::int64_t{1} << 20;

// A result of one element, or of one axis.
[[nodiscard]] tensor::Tensor scalar_result(double value);
[[nodiscard]] tensor::Tensor scalar_result(std::int64_t value);
[[nodiscard]] tensor::Tensor vector_result(const std::vector<double>& values);
[[nodiscard]] tensor::Tensor vector_result(const std::vector<std::int64_t>& values);

// The elements in FP64, exact; F32 or F64.
[[nodiscard]] std::vector<double> doubles(const tensor::Tensor& tensor);

}  // namespace lastbit::check

#include "check/op_arguments.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include "core/suggest.h"
#include "tensor/cast.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr const char* kCast = "cast";

bool is_float(OpElements elements) { return elements == OpElements::kFloat || elements == OpElements::kLogits; }

bool is_any_float(DType dtype) { return dtype == DType::kF64 || tensor::format_of(dtype).has_value(); }

const char* expected_dtype(OpElements elements) {
  switch (elements) {
    case OpElements::kFloat:
    case OpElements::kLogits:
      return "f32 or f64";
    case OpElements::kSingle:
      return "f32";
    case OpElements::kDouble:
      return "f64";
    case OpElements::kIndex:
      return "i64";
    case OpElements::kOther:
      break;
  }
  return "another dtype";
}

// "[..., d]" -> "...", "d".
std::vector<std::string> axes_of(const std::string& shape) {
  std::vector<std::string> axes;
  std::size_t begin = 1;
  while (begin < shape.size() - 1) {
    const std::size_t end = std::min(shape.find(", ", begin), shape.size() - 1);
    axes.push_back(shape.substr(begin, end - begin));
    begin = end + 2;
  }
  return axes;
}

// An axis of a shape's text: the size that it names, and what it has more than that.
struct Axis {
  std::string name;
  std::int64_t more = 0;
};

Axis axis_of(const std::string& text) {
  const std::size_t plus = text.find('+');
  if (plus == std::string::npos) return {text, 0};
  return {text.substr(0, plus), std::stoll(text.substr(plus + 1))};
}

bool is_number(const std::string& text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

template <typename Integer>
void widen(const Tensor& tensor, Tensor& result) {
  std::ranges::copy(tensor.values<Integer>(), result.mutable_values<std::int64_t>().begin());
}

// To I64; nothing for dtypes that are not integers, or do not fit.
std::optional<Tensor> widened(const Tensor& tensor) {
  Tensor result = Tensor::empty(DType::kI64, tensor.shape());
  switch (tensor.dtype()) {
    case DType::kI8:
      widen<std::int8_t>(tensor, result);
      return result;
    case DType::kU8:
      widen<std::uint8_t>(tensor, result);
      return result;
    case DType::kI16:
      widen<std::int16_t>(tensor, result);
      return result;
    case DType::kU16:
      widen<std::uint16_t>(tensor, result);
      return result;
    case DType::kI32:
      widen<std::int32_t>(tensor, result);
      return result;
    case DType::kU32:
      widen<std::uint32_t>(tensor, result);
      return result;
    default:
      return std::nullopt;
  }
}

// "[2, 0, 5]" of element `index`.
std::string place(const Tensor& tensor, std::size_t index) {
  tensor::Shape coordinates(tensor.shape().size());
  auto rest = static_cast<std::int64_t>(index);
  for (std::size_t axis = coordinates.size(); axis-- > 0;) {
    coordinates[axis] = rest % tensor.shape()[axis];
    rest /= tensor.shape()[axis];
  }
  return tensor::to_string(coordinates);
}

template <typename T>
void require_finite(const std::string& op, const OpInput& input, const Tensor& tensor) {
  const auto values = tensor.values<T>();
  const bool barred = input.elements == OpElements::kLogits;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]) && !(barred && values[i] < 0))
      core::fail_input("{}: {} is {} at {}, expected a finite number{}", op, input.name, values[i], place(tensor, i),
                       barred ? " or -inf" : "");
}

template <typename T>
std::optional<T> read_number(const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

template <typename List>
std::vector<std::string> names_of(const List& list, std::string List::value_type::*name) {
  std::vector<std::string> names;
  for (const auto& item : list) names.push_back(item.*name);
  return names;
}

}  // namespace

const OpSetting& cast_setting() {
  static const OpSetting kSetting{
      kCast, OpSettingKind::kChoice, "", "widen float inputs of fewer bits to this, and integers to i64, exactly", 0,
      0,     {"f32", "f64"}};
  return kSetting;
}

OpArguments::OpArguments(const OpEntry& op, const tensor::NamedTensors& inputs, const OpSettings& settings) : op_(op) {
  read_settings(settings);
  read_inputs(inputs);
}

void OpArguments::read_settings(const OpSettings& settings) {
  std::vector<std::string> known = names_of(op_.settings, &OpSetting::key);
  known.emplace_back(kCast);
  for (const auto& [key, text] : settings)
    if (std::ranges::find(known, key) == known.end())
      core::fail_input("{}: unknown setting '{}'{}, expected one of {}", op(), key, core::suggestion(key, known),
                       fmt::join(known, ", "));
  given_ = settings;
  const auto read = [&](const OpSetting& setting) {
    const auto found = settings.find(setting.key);
    if (found != settings.end())
      read_setting(setting, found->second);
    else if (setting.fallback.empty())
      texts_[setting.key] = "";
    else
      read_setting(setting, setting.fallback);
  };
  std::ranges::for_each(op_.settings, read);
  read(cast_setting());
}

void OpArguments::read_setting(const OpSetting& setting, const std::string& text) {
  texts_[setting.key] = text;
  std::vector<std::string> choices = setting.choices;
  switch (setting.kind) {
    case OpSettingKind::kText:
      return;
    case OpSettingKind::kWhole:
    case OpSettingKind::kNumber: {
      const bool whole = setting.kind == OpSettingKind::kWhole;
      std::optional<double> value = read_number<double>(text);
      if (whole && !read_number<std::int64_t>(text)) value = std::nullopt;
      if (!value || !(*value >= setting.least && *value <= setting.most))
        core::fail_input("{}: {} is '{}', expected a {}number from {} to {}", op(), setting.key, text,
                         whole ? "whole " : "", setting.least, setting.most);
      numbers_[setting.key] = *value;
      return;
    }
    case OpSettingKind::kFlag:
      choices = {"true", "false"};
      break;
    case OpSettingKind::kChoice:
      break;
  }
  if (std::ranges::find(choices, text) == choices.end())
    core::fail_input("{}: {} is '{}'{}, expected {}", op(), setting.key, text, core::suggestion(text, choices),
                     fmt::join(choices, ", "));
}

void OpArguments::read_inputs(const tensor::NamedTensors& inputs) {
  const std::vector<std::string> known = names_of(op_.inputs, &OpInput::name);
  for (const auto& [name, tensor] : inputs)
    if (std::ranges::find(known, name) == known.end())
      core::fail_input("{}: unknown input '{}'{}, expected {}", op(), name, core::suggestion(name, known),
                       fmt::join(known, ", "));
  for (const OpInput& input : op_.inputs) {
    const auto found = inputs.find(input.name);
    if (found == inputs.end()) {
      if (input.required)
        core::fail_input("{}: input '{}' is missing, expected {} {}: {}", op(), input.name,
                         expected_dtype(input.elements), input.shape, input.meaning);
      continue;
    }
    Tensor tensor = cast(input, found->second.contiguous());
    check_dtype(input, tensor);
    check_shape(input, tensor);
    check_values(input, tensor);
    inputs_.emplace(input.name, std::move(tensor));
  }
}

Tensor OpArguments::cast(const OpInput& input, const Tensor& tensor) const {
  if (text(kCast).empty()) return tensor;
  if (input.elements == OpElements::kIndex) return widened(tensor).value_or(tensor);
  if (!is_float(input.elements) || !is_any_float(tensor.dtype()) || tensor.dtype() == DType::kF64) return tensor;
  return tensor::cast(tensor, text(kCast) == "f64" ? DType::kF64 : DType::kF32);
}

void OpArguments::check_dtype(const OpInput& input, const Tensor& tensor) {
  const DType found = tensor.dtype();
  bool fine = true;
  switch (input.elements) {
    case OpElements::kFloat:
    case OpElements::kLogits:
      fine = found == DType::kF32 || found == DType::kF64;
      break;
    case OpElements::kSingle:
      fine = found == DType::kF32;
      break;
    case OpElements::kDouble:
      fine = found == DType::kF64;
      break;
    case OpElements::kIndex:
      fine = found == DType::kI64;
      break;
    case OpElements::kOther:
      return;
  }
  if (!fine) {
    const bool widens = input.elements == OpElements::kIndex ? found != DType::kU64 && !is_any_float(found)
                                                             : is_float(input.elements) && is_any_float(found);
    core::fail_input("{}: {} is {}, expected {}{}", op(), input.name, tensor::name(found),
                     expected_dtype(input.elements), widens ? " (--set cast=f32 or f64 widens it, exactly)" : "");
  }
  if (!is_float(input.elements)) return;
  if (dtype_ && *dtype_ != found)
    core::fail_input("{}: {} is {} and {} is {}, expected one dtype", op(), dtype_of_, tensor::name(*dtype_),
                     input.name, tensor::name(found));
  if (!dtype_) dtype_of_ = input.name;
  dtype_ = found;
}

void OpArguments::check_shape(const OpInput& input, const Tensor& tensor) {
  std::vector<std::string> axes = axes_of(input.shape);
  const tensor::Shape& shape = tensor.shape();
  std::string sizes;  // that the text names and other inputs have decided
  const bool open = !axes.empty() && axes.front() == "...";
  if (open) {
    axes.erase(axes.begin());
    if (leading_) sizes = fmt::format(" with ... {}", tensor::to_string(*leading_));
  }
  for (const std::string& text : axes)
    if (const auto known = sizes_.find(axis_of(text).name); known != sizes_.end())
      sizes += fmt::format("{} {} {}", sizes.empty() ? " with" : ",", known->first, known->second);
  const auto fail = [&] {
    core::fail_input("{}: {} is {} {}, expected {}{}{}", op(), input.name, tensor::name(tensor.dtype()),
                     tensor::to_string(shape), input.shape, sizes, tensor.size() == 0 ? ", and not empty" : "");
  };
  const bool rank_fits = open ? shape.size() >= axes.size() : shape.size() == axes.size();
  if (!rank_fits || tensor.size() == 0) fail();
  const std::size_t first = shape.size() - axes.size();
  if (open) {
    const tensor::Shape leading(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(first));
    if (leading_ && *leading_ != leading) fail();
    leading_ = leading;
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::int64_t found = shape[first + i];
    if (is_number(axes[i])) {
      if (found != std::stoll(axes[i])) fail();
      continue;
    }
    const auto [name, more] = axis_of(axes[i]);
    if (found <= more) fail();
    const auto [known, fresh] = sizes_.emplace(name, found - more);
    if (!fresh && known->second != found - more) fail();
  }
}

void OpArguments::check_values(const OpInput& input, const Tensor& tensor) const {
  if (input.elements == OpElements::kIndex || input.elements == OpElements::kOther) return;
  if (tensor.dtype() == DType::kF64)
    require_finite<double>(op(), input, tensor);
  else
    require_finite<float>(op(), input, tensor);
}

const Tensor* OpArguments::find(const std::string& name) const {
  const auto found = inputs_.find(name);
  return found == inputs_.end() ? nullptr : &found->second;
}

const Tensor& OpArguments::tensor(const std::string& name) const {
  const Tensor* found = find(name);
  core::check(found != nullptr, "an operator asks for an input that is there");
  return *found;
}

DType OpArguments::dtype() const {
  core::check(dtype_.has_value(), "an operator without float inputs has no dtype");
  return *dtype_;
}

std::int64_t OpArguments::size(const std::string& name) const {
  const auto found = sizes_.find(name);
  core::check(found != sizes_.end(), "a size that an input has");
  return found->second;
}

std::int64_t OpArguments::whole(const std::string& key) const { return static_cast<std::int64_t>(number(key)); }

double OpArguments::number(const std::string& key) const {
  const auto found = numbers_.find(key);
  if (found == numbers_.end()) core::fail_input("{}: setting '{}' is missing, expected --set {}=VALUE", op(), key, key);
  return found->second;
}

const std::string& OpArguments::text(const std::string& key) const {
  const auto found = texts_.find(key);
  core::check(found != texts_.end(), "a setting of the operator");
  return found->second;
}

void OpArguments::require_range(const std::string& name, std::int64_t least, std::int64_t end) const {
  const Tensor& tensor = this->tensor(name);
  const auto values = tensor.values<std::int64_t>();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (values[i] < least || values[i] >= end)
      core::fail_input("{}: {} is {} at {}, expected {} to {}", op(), name, values[i], place(tensor, i), least,
                       end - 1);
}

void OpArguments::require_with(const std::string& input, const std::string& other) const {
  if (has(input) && !has(other)) core::fail_input("{}: {} without {}, expected both", op(), input, other);
}

void OpArguments::refuse_settings(const std::vector<std::string>& keys, const std::string& why) const {
  for (const std::string& key : keys)
    if (given(key)) core::fail_input("{}: found setting '{}', expected none: {}", op(), key, why);
}

OpSetting whole_setting(std::string key, std::string fallback, std::int64_t least, std::int64_t most,
                        std::string meaning) {
  return {std::move(key),
          OpSettingKind::kWhole,
          std::move(fallback),
          std::move(meaning),
          static_cast<double>(least),
          static_cast<double>(most),
          {}};
}

OpSetting number_setting(std::string key, std::string fallback, double least, double most, std::string meaning) {
  return {std::move(key), OpSettingKind::kNumber, std::move(fallback), std::move(meaning), least, most, {}};
}

OpSetting flag_setting(std::string key, bool fallback, std::string meaning) {
  return {std::move(key), OpSettingKind::kFlag, fallback ? "true" : "false", std::move(meaning), 0, 0, {}};
}

OpSetting choice_setting(std::string key, std::vector<std::string> choices, std::string meaning) {
  std::string first = choices.front();
  return {std::move(key), OpSettingKind::kChoice, std::move(first), std::move(meaning), 0, 0, std::move(choices)};
}

OpSetting text_setting(std::string key, std::string fallback, std::string meaning) {
  return {std::move(key), OpSettingKind::kText, std::move(fallback), std::move(meaning), 0, 0, {}};
}

Tensor scalar_result(double value) { return Tensor::from<double>({1}, std::span<const double>(&value, 1)); }

Tensor scalar_result(std::int64_t value) {
  return Tensor::from<std::int64_t>({1}, std::span<const std::int64_t>(&value, 1));
}

Tensor vector_result(const std::vector<double>& values) { return Tensor::from<double>({std::ssize(values)}, values); }

Tensor vector_result(const std::vector<std::int64_t>& values) {
  return Tensor::from<std::int64_t>({std::ssize(values)}, values);
}

std::vector<double> doubles(const Tensor& tensor) {
  if (tensor.dtype() == DType::kF64) return {tensor.values<double>().begin(), tensor.values<double>().end()};
  return {tensor.values<float>().begin(), tensor.values<float>().end()};
}

}  // namespace lastbit::check

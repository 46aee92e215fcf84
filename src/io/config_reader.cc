#include "io/config_reader.h"

#include <fmt/ranges.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "core/error.h"
#include "core/suggest.h"
#include "io/json.h"

namespace lastbit::io {
namespace {

using nlohmann::json;

constexpr double kExactIntegers = 9007199254740992.0;  // 2^53: above it a float no longer names one integer

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

template <typename T>
constexpr std::string_view expectation() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, int>) return "an integer of 32 bits";
  if constexpr (std::is_same_v<T, std::int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, double>) return "a finite number";
  if constexpr (std::is_same_v<T, std::string>) return "a string";
  if constexpr (std::is_same_v<T, std::vector<std::int64_t>>) return "an array of integers";
  if constexpr (std::is_same_v<T, std::vector<double>>) return "an array of finite numbers";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "an array of strings";
}

std::optional<std::int64_t> whole_number(const json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const auto number = value.get<double>();
  if (!(std::abs(number) <= kExactIntegers) || std::trunc(number) != number) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

template <typename T>
std::optional<T> convert(const json& value) {
  if constexpr (std::is_same_v<T, bool>) {
    if (value.is_boolean()) return value.get<bool>();
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return whole_number(value);
  } else if constexpr (std::is_same_v<T, int>) {
    const std::optional<std::int64_t> number = whole_number(value);
    if (number && *number >= std::numeric_limits<int>::min() && *number <= std::numeric_limits<int>::max())
      return static_cast<int>(*number);
  } else if constexpr (std::is_same_v<T, double>) {
    if (value.is_number() && std::isfinite(value.get<double>())) return value.get<double>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (value.is_string()) return value.get<std::string>();
  } else {
    static_assert(IsVector<T>::value);
    if (!value.is_array()) return std::nullopt;
    T all;
    for (const json& element : value) {
      std::optional<typename T::value_type> one = convert<typename T::value_type>(element);
      if (!one) return std::nullopt;
      all.push_back(std::move(*one));
    }
    return all;
  }
  return std::nullopt;
}

}  // namespace

ConfigReader::ConfigReader(const json& object, std::string file, std::string prefix)
    : ConfigReader(std::make_shared<const json>(object), std::move(file), std::move(prefix)) {
  if (object_->is_object()) return;
  const std::string where = prefix_.empty() ? file_ : fmt::format("{}: key '{}'", file_, prefix_);
  core::fail_input("{}: found {}, expected an object", where, describe_json(*object_));
}

ConfigReader::ConfigReader(std::shared_ptr<const json> object, std::string file, std::string prefix)
    : object_(std::move(object)),
      file_(std::move(file)),
      prefix_(std::move(prefix)),
      known_(std::make_shared<std::set<std::string>>()) {}

const json* ConfigReader::find(const std::string& key) const {
  known_->insert(key);
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::has(const std::string& key) const { return find(key) != nullptr; }

const json& ConfigReader::raw(const std::string& key) const {
  static const json kNull;
  const json* value = find(key);
  return value == nullptr ? kNull : *value;
}

void ConfigReader::fail(const std::string& key, std::string_view expected) const {
  const json* value = find(key);
  if (value == nullptr) core::fail_input("{}: no key '{}', expected {}", file_, dotted(key), expected);
  core::fail_input("{}: key '{}': found {}, expected {}", file_, dotted(key), describe_json(*value), expected);
}

template <typename T>
std::optional<T> ConfigReader::optional(const std::string& key) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  std::optional<T> converted = convert<T>(*value);
  if (!converted) fail(key, expectation<T>());
  return converted;
}

template <typename T>
T ConfigReader::require(const std::string& key) const {
  std::optional<T> value = optional<T>(key);
  if (!value) fail(key, expectation<T>());
  return *std::move(value);
}

std::int64_t ConfigReader::require_in(const std::string& key, std::int64_t low, std::int64_t high) const {
  const auto value = require<std::int64_t>(key);
  if (value < low || value > high) fail(key, fmt::format("an integer from {} to {}", low, high));
  return value;
}

double ConfigReader::require_in(const std::string& key, double low, double high) const {
  const auto value = require<double>(key);
  if (value < low || value > high) fail(key, fmt::format("a number from {} to {}", low, high));
  return value;
}

std::string ConfigReader::require_one_of(const std::string& key, const std::vector<std::string>& choices) const {
  auto value = require<std::string>(key);
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
  fail(key, fmt::format("one of {}{}", fmt::join(choices, ", "), core::suggestion(value, choices)));
}

ConfigReader ConfigReader::nested(const std::string& key, const json& value) const {
  return {std::shared_ptr<const json>(object_, &value), file_, dotted(key) + "."};
}

std::optional<ConfigReader> ConfigReader::optional_object(const std::string& key) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) fail(key, "an object");
  return nested(key, *value);
}

ConfigReader ConfigReader::require_object(const std::string& key) const {
  std::optional<ConfigReader> reader = optional_object(key);
  if (!reader) fail(key, "an object");
  return *std::move(reader);
}

std::vector<ConfigReader> ConfigReader::require_objects(const std::string& key) const {
  const json* value = find(key);
  if (value == nullptr || !value->is_array()) fail(key, "an array of objects");
  std::vector<ConfigReader> readers;
  for (std::size_t i = 0; i < value->size(); ++i) {
    if (!(*value)[i].is_object()) fail(key, "an array of objects");
    readers.push_back(nested(fmt::format("{}[{}]", key, i), (*value)[i]));
  }
  return readers;
}

std::vector<std::string> ConfigReader::keys() const {
  std::vector<std::string> names;
  for (const auto& [key, value] : object_->items()) names.push_back(key);
  return names;
}

void ConfigReader::ignore(const std::string& key) const { known_->insert(key); }

void ConfigReader::finish() const {
  const std::vector<std::string> known(known_->begin(), known_->end());
  for (const std::string& key : keys())
    if (!known_->contains(key))
      core::fail_input("{}: unknown key '{}'{}", file_, dotted(key), core::suggestion(key, known));
}

template std::optional<bool> ConfigReader::optional<bool>(const std::string&) const;
template std::optional<int> ConfigReader::optional<int>(const std::string&) const;
template std::optional<std::int64_t> ConfigReader::optional<std::int64_t>(const std::string&) const;
template std::optional<double> ConfigReader::optional<double>(const std::string&) const;
template std::optional<std::string> ConfigReader::optional<std::string>(const std::string&) const;
template std::optional<std::vector<std::int64_t>> ConfigReader::optional<std::vector<std::int64_t>>(
    const std::string&) const;
template std::optional<std::vector<double>> ConfigReader::optional<std::vector<double>>(const std::string&) const;
template std::optional<std::vector<std::string>> ConfigReader::optional<std::vector<std::string>>(
    const std::string&) const;
template bool ConfigReader::require<bool>(const std::string&) const;
template int ConfigReader::require<int>(const std::string&) const;
template std::int64_t ConfigReader::require<std::int64_t>(const std::string&) const;
template double ConfigReader::require<double>(const std::string&) const;
template std::string ConfigReader::require<std::string>(const std::string&) const;
template std::vector<std::int64_t> ConfigReader::require<std::vector<std::int64_t>>(const std::string&) const;
template std::vector<double> ConfigReader::require<std::vector<double>>(const std::string&) const;
template std::vector<std::string> ConfigReader::require<std::vector<std::string>>(const std::string&) const;

}  // namespace lastbit::io

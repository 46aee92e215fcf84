// Typed reading of a configuration object, with errors that name the file, the dotted key, what was found and what
// was expected.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace lastbit::io {

// T is one of bool, int, std::int64_t, double, std::string, and std::vector of std::int64_t, double or std::string.
// Integers may be written 1e12 when they are whole; doubles are finite. A key whose value is null counts as missing.
class ConfigReader {
 public:
  // `object` is copied once and shared by nested readers; `prefix` precedes keys in messages ("fabric.").
  ConfigReader(const nlohmann::json& object, std::string file, std::string prefix = "");

  [[nodiscard]] bool has(const std::string& key) const;
  template <typename T>
  [[nodiscard]] T require(const std::string& key) const;
  template <typename T>
  [[nodiscard]] std::optional<T> optional(const std::string& key) const;
  template <typename T>
  [[nodiscard]] T get_or(const std::string& key, const T& otherwise) const {
    return optional<T>(key).value_or(otherwise);
  }

  // As above, and within the bounds (both included).
  [[nodiscard]] std::int64_t require_in(const std::string& key, std::int64_t low, std::int64_t high) const;
  [[nodiscard]] double require_in(const std::string& key, double low, double high) const;
  // A string that is one of `choices`; the error lists them with a suggestion.
  [[nodiscard]] std::string require_one_of(const std::string& key, const std::vector<std::string>& choices) const;

  // Nested objects; each reader has its own finish().
  [[nodiscard]] ConfigReader require_object(const std::string& key) const;
  [[nodiscard]] std::optional<ConfigReader> optional_object(const std::string& key) const;
  [[nodiscard]] std::vector<ConfigReader> require_objects(const std::string& key) const;  // an array of objects
  // The value itself, whatever it is; null when missing.
  [[nodiscard]] const nlohmann::json& raw(const std::string& key) const;

  // All keys, in name order; reading none of them.
  [[nodiscard]] std::vector<std::string> keys() const;
  // Marks a key as known without reading it.
  void ignore(const std::string& key) const;
  // Refuses keys that were never asked for, with a suggestion among those that were.
  void finish() const;
  // Throws "FILE: key 'a.b': found FOUND, expected EXPECTED".
  [[noreturn]] void fail(const std::string& key, std::string_view expected) const;

  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] std::string dotted(const std::string& key) const { return prefix_ + key; }

 private:
  ConfigReader(std::shared_ptr<const nlohmann::json> object, std::string file, std::string prefix);
  [[nodiscard]] const nlohmann::json* find(const std::string& key) const;  // null when missing or null
  [[nodiscard]] ConfigReader nested(const std::string& key, const nlohmann::json& value) const;

  std::shared_ptr<const nlohmann::json> object_;
  std::string file_;
  std::string prefix_;
  std::shared_ptr<std::set<std::string>> known_;  // keys that were asked for
};

}  // namespace lastbit::io

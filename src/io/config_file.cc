#include "io/config_file.h"

#include <toml++/toml.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/file_bytes.h"
#include "io/json.h"

namespace lastbit::io {
namespace {

using nlohmann::json;

json to_json(const toml::node& node, const std::string& name) {
  if (const toml::table* table = node.as_table()) {
    json object = json::object();
    for (const auto& [key, value] : *table) object[std::string(key.str())] = to_json(value, name);
    return object;
  }
  if (const toml::array* array = node.as_array()) {
    json list = json::array();
    for (const toml::node& element : *array) list.push_back(to_json(element, name));
    return list;
  }
  if (const auto* value = node.as_string()) return value->get();
  if (const auto* value = node.as_integer()) return value->get();
  if (const auto* value = node.as_floating_point()) return value->get();
  if (const auto* value = node.as_boolean()) return value->get();
  const toml::source_position at = node.source().begin;
  core::fail_input("{}:{}:{}: a date or time, expected a number, a string or a boolean", name, at.line, at.column);
}

}  // namespace

json parse_toml(std::string_view text, const std::string& name) {
  try {
    return to_json(toml::parse(text), name);
  } catch (const toml::parse_error& error) {
    const toml::source_position at = error.source().begin;
    core::fail_input("{}:{}:{}: {}", name, at.line, at.column, error.description());
  }
}

json load_config_file(const std::string& path) {
  const std::string extension = std::filesystem::path(path).extension().string();
  if (extension != ".toml" && extension != ".json")
    core::fail_input("{}: a config file of extension '{}', expected .json or .toml", path, extension);
  const auto file = FileBytes::open(path);
  json document = extension == ".toml" ? parse_toml(file->text(), path) : parse_json(file->text(), path);
  if (!document.is_object()) core::fail_input("{}: found {}, expected an object", path, describe_json(document));
  return document;
}

}  // namespace lastbit::io

#include "text/json_fields.h"

#include <fmt/format.h>

#include <string_view>

#include "core/error.h"

namespace lastbit::text {

using nlohmann::json;

std::string shortened(const std::string& text) {
  constexpr std::size_t kMost = 60;
  return text.size() <= kMost ? text : fmt::format("{}...", std::string_view(text).substr(0, kMost));
}

const json& require_field(const json& object, const std::string& key, const std::string& name) {
  if (!object.is_object()) core::fail_input("{}: {}, expected an object", name, object.type_name());
  const auto found = object.find(key);
  if (found == object.end()) core::fail_input("{}: no '{}'", name, key);
  return *found;
}

std::string require_string(const json& object, const std::string& key, const std::string& name) {
  const json& value = require_field(object, key, name);
  if (!value.is_string()) core::fail_input("{}: '{}' is {}, expected a string", name, key, value.type_name());
  return value.get<std::string>();
}

const json& require_array(const json& object, const std::string& key, const std::string& name) {
  const json& value = require_field(object, key, name);
  if (!value.is_array()) core::fail_input("{}: '{}' is {}, expected an array", name, key, value.type_name());
  return value;
}

bool bool_or(const json& object, const std::string& key, bool otherwise, const std::string& name) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return otherwise;
  if (!found->is_boolean()) core::fail_input("{}: '{}' is {}, expected true or false", name, key, found->type_name());
  return found->get<bool>();
}

}  // namespace lastbit::text

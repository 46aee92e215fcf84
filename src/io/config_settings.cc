#include "io/config_settings.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace lastbit::io {
namespace {

using nlohmann::json;

json& step_into(json& node, const std::string& part, const std::string& setting) {
  if (node.is_null()) node = json::object();
  if (node.is_object()) return node[part];
  if (!node.is_array()) core::fail_input("--set {}: '{}' is not inside an object", setting, part);
  const bool digits = !part.empty() && part.size() < 7 &&
                      std::ranges::all_of(part, [](char symbol) { return symbol >= '0' && symbol <= '9'; });
  const std::size_t index = digits ? std::stoul(part) : node.size();
  if (index >= node.size())
    core::fail_input("--set {}: found index '{}', expected one below {}", setting, part, node.size());
  return node[index];
}

}  // namespace

void apply_settings(json& object, const std::vector<std::string>& settings) {
  for (const std::string& setting : settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0)
      core::fail_input("--set: found '{}', expected KEY=VALUE such as learning_rate.peak=1e-3", setting);
    json* node = &object;
    for (std::size_t begin = 0; begin <= equals;) {
      const std::size_t end = std::min(setting.find('.', begin), equals);
      if (end == begin) core::fail_input("--set: found '{}', expected a key without empty parts", setting);
      node = &step_into(*node, setting.substr(begin, end - begin), setting);
      begin = end + 1;
      if (end == equals) break;
    }
    const std::string text = setting.substr(equals + 1);
    json value = json::parse(text, nullptr, false);
    *node = value.is_discarded() ? json(text) : std::move(value);
  }
}

}  // namespace lastbit::io

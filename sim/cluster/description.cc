#include "sim/cluster/description.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/suggest.h"
#include "io/data_dir.h"

namespace lastbit::sim::cluster {
namespace {

using nlohmann::json;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t end = text.find(separator); end != std::string::npos; end = text.find(separator, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

json* step_into(json* node, const std::string& part, const Override& change) {
  if (!node->is_array()) {
    if (node->is_null()) *node = json::object();
    if (!node->is_object()) {
      core::fail_input("--set {}: '{}' is not inside an object", change.subject, part);
    }
    return &(*node)[part];
  }
  const bool digits =
      !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
  const std::size_t index = digits && part.size() < 7 ? std::stoul(part) : node->size();
  if (index >= node->size()) {
    core::fail_input("--set {}: found index '{}', expected 0 to {}", change.subject, part,
                     node->empty() ? 0 : node->size() - 1);
  }
  return &(*node)[index];
}

}  // namespace

std::vector<Override> parse_overrides(const std::vector<std::string>& settings) {
  static const std::vector<std::string> kSubjects{"cluster", "job", "assume", "model"};
  std::vector<Override> overrides;
  for (const std::string& setting : settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos) {
      core::fail_input("--set: found '{}', expected KEY=VALUE such as assume.routing_load_factor=1.1", setting);
    }
    std::vector<std::string> parts = split(setting.substr(0, equals), '.');
    const bool known = std::find(kSubjects.begin(), kSubjects.end(), parts.front()) != kSubjects.end();
    if (!known || parts.size() < 2 || std::find(parts.begin(), parts.end(), "") != parts.end()) {
      core::fail_input("--set: found key '{}', expected cluster.KEY, job.KEY, assume.NAME or model.KEY{}",
                       setting.substr(0, equals), known ? "" : core::suggestion(parts.front(), kSubjects));
    }
    Override change{parts.front(), {parts.begin() + 1, parts.end()}, setting.substr(equals + 1)};
    overrides.push_back(std::move(change));
  }
  return overrides;
}

void apply_overrides(json& object, const std::vector<Override>& overrides, const std::string& subject) {
  for (const Override& change : overrides) {
    if (change.subject != subject) continue;
    json* node = &object;
    for (const std::string& part : change.path) node = step_into(node, part, change);
    json value = json::parse(change.value, nullptr, false);
    *node = value.is_discarded() ? json(change.value) : std::move(value);
  }
}

std::string name_with_overrides(const std::string& path, const std::vector<Override>& overrides,
                                const std::string& subject) {
  std::string name = path;
  for (const Override& change : overrides) {
    if (change.subject != subject) continue;
    name += fmt::format(" with --set {}.{}={}", subject, fmt::join(change.path, "."), change.value);
  }
  return name;
}

std::vector<std::string> description_names(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(io::data_path(folder))) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".toml" || extension == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string description_path(const std::string& folder, const std::string& name_or_path, const std::string& what) {
  const std::filesystem::path path(name_or_path);
  if (path.extension() == ".toml" || path.extension() == ".json" || path.has_parent_path()) {
    if (std::filesystem::is_directory(path))
      core::fail_input("{}: is a folder, expected the .toml or .json file of a {}", name_or_path, what);
    if (!std::filesystem::exists(path)) core::fail_input("{}: no such file for a {}", name_or_path, what);
    return name_or_path;
  }
  const std::vector<std::string> names = description_names(folder);
  if (std::find(names.begin(), names.end(), name_or_path) == names.end()) {
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
    core::fail_input("unknown {} '{}'{}; there are: {}", what, name_or_path, core::suggestion(name_or_path, names),
                     all);
  }
  const std::string base = io::data_path(folder) + "/" + name_or_path;
  return std::filesystem::exists(base + ".toml") ? base + ".toml" : base + ".json";
}

}  // namespace lastbit::sim::cluster

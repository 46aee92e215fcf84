#include "sim/network/scenario.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>

#include "core/error.h"
#include "core/suggest.h"
#include "io/json.h"

namespace lastbit::sim::network {
namespace {

using nlohmann::json;

// Bounds that keep every quotient, sum and product of the solver far inside the range of a double.
constexpr double kLeastCapacity = 1e-9;  // B/s
constexpr double kMost = 1e24;           // B/s and B
constexpr double kMostSeconds = 1e15;

// An object of a file with the place where it lies. (Not io::ConfigReader: a scenario has a hundred thousand flows,
// and a reader for each would take longer than to solve it.)
class Entry {
 public:
  Entry(const json& value, const std::string& file, const char* list, std::size_t index)
      : value_(value), file_(file), list_(list), index_(index) {
    if (!value.is_object()) core::fail_input("{}: found {}, expected an object", where(), io::describe_json(value));
  }

  void allow(const std::vector<std::string>& keys) const {
    for (const auto& item : value_.items()) {
      if (std::find(keys.begin(), keys.end(), item.key()) == keys.end())
        core::fail_input("{}: unknown key '{}'{}", where(), item.key(), core::suggestion(item.key(), keys));
    }
  }

  [[nodiscard]] const json* find(const char* key) const {
    const auto found = value_.find(key);
    return found == value_.end() || found->is_null() ? nullptr : &*found;
  }

  // A finite number within [least, most]; `otherwise` when the key is missing.
  [[nodiscard]] double number(const char* key, double least, double most, std::optional<double> otherwise) const {
    const json* found = find(key);
    if (found == nullptr && otherwise) return *otherwise;
    if (found == nullptr) core::fail_input("{}: key '{}' is missing", where(), key);
    const double value = found->is_number() ? found->get<double>() : std::nan("");
    if (!(value >= least && value <= most))
      core::fail_input("{}: key '{}': found {}, expected a number from {} to {}", where(), key,
                       io::describe_json(*found), least, most);
    return value;
  }

  [[nodiscard]] std::int64_t integer(const char* key, std::int64_t otherwise) const {
    const json* found = find(key);
    if (found == nullptr) return otherwise;
    return integer_of(*found, key);
  }

  [[nodiscard]] std::int64_t integer_of(const json& value, const char* key) const {
    const bool fits =
        value.is_number_integer() && (!value.is_number_unsigned() || value.get<std::uint64_t>() < 1ULL << 62U);
    if (!fits || value.get<std::int64_t>() < 0)
      core::fail_input("{}: key '{}': found {}, expected a whole number of at least 0", where(), key,
                       io::describe_json(value));
    return value.get<std::int64_t>();
  }

  [[nodiscard]] std::string where() const { return fmt::format("{}: {}[{}]", file_, list_, index_); }

 private:
  const json& value_;
  const std::string& file_;
  const char* list_;
  std::size_t index_;
};

const json& array_of(const json& document, const char* key, const std::string& file) {
  const auto found = document.find(key);
  if (found == document.end()) core::fail_input("{}: key '{}' is missing", file, key);
  if (!found->is_array())
    core::fail_input("{}: key '{}': found {}, expected an array of objects", file, key, io::describe_json(*found));
  return *found;
}

std::string text_of(const json& document, const char* key, const std::string& otherwise, const std::string& file) {
  const auto found = document.find(key);
  if (found == document.end()) return otherwise;
  if (!found->is_string())
    core::fail_input("{}: key '{}': found {}, expected a string", file, key, io::describe_json(*found));
  return found->get<std::string>();
}

void check_keys(const json& document, const std::string& file) {
  static const std::vector<std::string> keys{"name",  "description", "simgrid",    "units",  "links",
                                             "flows", "expected",    "crosscheck", "sharing"};
  for (const auto& item : document.items()) {
    if (std::find(keys.begin(), keys.end(), item.key()) == keys.end())
      core::fail_input("{}: unknown key '{}'{}", file, item.key(), core::suggestion(item.key(), keys));
  }
}

// The keys carry their units; a file that says other ones means other numbers.
void check_units(const json& document, const std::string& file) {
  const auto units = document.find("units");
  if (units == document.end()) return;
  static const std::vector<std::pair<std::string, std::string>> known{
      {"capacity", "bytes/s"}, {"latency", "s"}, {"size", "bytes"}, {"time", "s"}};
  if (!units->is_object())
    core::fail_input("{}: key 'units': found {}, expected an object", file, io::describe_json(*units));
  for (const auto& item : units->items()) {
    const auto its =
        std::find_if(known.begin(), known.end(), [&](const auto& unit) { return unit.first == item.key(); });
    if (its == known.end())
      core::fail_input("{}: unknown key 'units.{}', expected capacity, latency, size or time", file, item.key());
    if (item.value() != its->second)
      core::fail_input("{}: key 'units.{}': found {}, expected '{}'", file, item.key(), io::describe_json(item.value()),
                       its->second);
  }
}

// Link numbers by the ids of the file.
using Ids = std::unordered_map<std::int64_t, std::uint32_t>;

Ids read_links(const json& document, const std::string& file, Scenario& scenario) {
  static const std::vector<std::string> keys{"id", "name", "capacity_Bps", "latency_s"};
  Ids ids;
  for (const json& value : array_of(document, "links", file)) {
    const Entry entry(value, file, "links", scenario.links.size());
    entry.allow(keys);
    const std::int64_t id = entry.integer("id", static_cast<std::int64_t>(scenario.links.size()));
    const double latency_s = entry.number("latency_s", 0, kMostSeconds, 0.0);
    const double capacity = entry.number("capacity_Bps", kLeastCapacity, kMost, std::nullopt);
    if (!ids.emplace(id, scenario.links.add(capacity, latency_s)).second)
      core::fail_input("{}: key 'id': {} is there twice", entry.where(), id);
    scenario.link_ids.push_back(id);
    const json* name = entry.find("name");
    if (name != nullptr && !name->is_string())
      core::fail_input("{}: key 'name': found {}, expected a string", entry.where(), io::describe_json(*name));
    scenario.link_names.push_back(name != nullptr ? name->get<std::string>() : "");
  }
  return ids;
}

std::vector<std::uint32_t> read_route(const Entry& entry, const Ids& ids) {
  const json* found = entry.find("route");
  if (found == nullptr) core::fail_input("{}: key 'route' is missing", entry.where());
  if (!found->is_array() || found->empty())
    core::fail_input("{}: key 'route': found {}, expected the ids of at least one link", entry.where(),
                     found->is_array() ? "no link" : io::describe_json(*found));
  std::vector<std::uint32_t> route;
  for (const json& link : *found) {
    const std::int64_t id = entry.integer_of(link, "route");
    const auto known = ids.find(id);
    if (known == ids.end()) core::fail_input("{}: key 'route': there is no link with id {}", entry.where(), id);
    route.push_back(known->second);
  }
  return route;
}

void read_flows(const json& document, const std::string& file, const Ids& ids, Scenario& scenario) {
  static const std::vector<std::string> keys{"id", "src", "dst", "start_s", "size_B", "route"};
  std::unordered_map<std::int64_t, bool> seen;
  for (const json& value : array_of(document, "flows", file)) {
    const Entry entry(value, file, "flows", scenario.flows.size());
    entry.allow(keys);
    const std::int64_t id = entry.integer("id", static_cast<std::int64_t>(scenario.flows.size()));
    if (!seen.emplace(id, true).second) core::fail_input("{}: key 'id': {} is there twice", entry.where(), id);
    (void)entry.integer("src", 0);
    (void)entry.integer("dst", 0);
    const double start_s = entry.number("start_s", 0, kMostSeconds, 0.0);
    const double bytes = entry.number("size_B", 0, kMost, std::nullopt);
    scenario.flows.add(start_s, bytes, read_route(entry, ids));
  }
}

std::vector<double> read_expected(const json& document, const std::string& file, std::size_t flows) {
  const auto expected = document.find("expected");
  if (expected == document.end()) return {};
  if (!expected->is_object())
    core::fail_input("{}: key 'expected': found {}, expected an object", file, io::describe_json(*expected));
  const auto list = expected->find("completion_s");
  if (list == expected->end()) return {};
  if (!list->is_array() || list->size() != flows)
    core::fail_input("{}: key 'expected.completion_s': found {}, expected {} numbers, one a flow", file,
                     list->is_array() ? fmt::format("{} values", list->size()) : io::describe_json(*list), flows);
  std::vector<double> all;
  for (const json& value : *list) {
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      core::fail_input("{}: key 'expected.completion_s': found {}, expected a finite number", file,
                       io::describe_json(value));
    all.push_back(value.get<double>());
  }
  return all;
}

}  // namespace

Scenario read_scenario(const json& document, const std::string& file) {
  if (!document.is_object())
    core::fail_input("{}: found {}, expected an object with links and flows", file, io::describe_json(document));
  check_keys(document, file);
  check_units(document, file);
  Scenario scenario;
  scenario.name = text_of(document, "name", "", file);
  try {
    scenario.sharing = parse_sharing(text_of(document, "sharing", "maxmin", file));
  } catch (const core::Error& error) {
    core::fail_input("{}: key '{}'", file, error.what());
  }
  const Ids ids = read_links(document, file, scenario);
  read_flows(document, file, ids, scenario);
  scenario.expected_s = read_expected(document, file, scenario.flows.size());
  return scenario;
}

Scenario load_scenario(const std::string& path) { return read_scenario(io::load_json(path), path); }

}  // namespace lastbit::sim::network

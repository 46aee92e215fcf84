#include "sim/cluster/quantity.h"

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "core/error.h"
#include "core/suggest.h"

namespace lastbit::sim::cluster {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr std::array kTimeUnits{Unit{"s", 1}, Unit{"ms", 1e-3}, Unit{"us", 1e-6}, Unit{"ns", 1e-9}, Unit{"h", 3600}};
constexpr std::array kByteUnits{Unit{"B", 1},           Unit{"kB", 1e3},           Unit{"MB", 1e6},
                                Unit{"GB", 1e9},        Unit{"TB", 1e12},          Unit{"KiB", 1024.0},
                                Unit{"MiB", 1048576.0}, Unit{"GiB", 1073741824.0}, Unit{"TiB", 1099511627776.0}};
constexpr std::array kBandwidthUnits{Unit{"B/s", 1},        Unit{"kB/s", 1e3},     Unit{"MB/s", 1e6},
                                     Unit{"GB/s", 1e9},     Unit{"TB/s", 1e12},    Unit{"GiB/s", 1073741824.0},
                                     Unit{"b/s", 0.125},    Unit{"Mb/s", 0.125e6}, Unit{"Gb/s", 0.125e9},
                                     Unit{"Tb/s", 0.125e12}};
constexpr std::array kComputeUnits{Unit{"FLOPS", 1}, Unit{"GFLOPS", 1e9}, Unit{"TFLOPS", 1e12}, Unit{"PFLOPS", 1e15}};

constexpr std::array kPowerUnits{Unit{"W", 1}, Unit{"kW", 1e3}, Unit{"MW", 1e6}};

struct Family {
  std::span<const Unit> units;
  const char* example;
};

Family family(Dimension dimension) {
  switch (dimension) {
    case Dimension::kTime:
      return {kTimeUnits, "a time such as \"3.7 us\""};
    case Dimension::kBytes:
      return {kByteUnits, "a size such as \"80 GiB\""};
    case Dimension::kBandwidth:
      return {kBandwidthUnits, "a bandwidth such as \"400 Gb/s\" or \"50 GB/s\""};
    case Dimension::kComputeRate:
      return {kComputeUnits, "a rate such as \"989 TFLOPS\""};
    case Dimension::kPower:
      return {kPowerUnits, "a power such as \"700 W\""};
  }
  core::fail_input("unknown dimension");
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

double parse_quantity(std::string_view text, Dimension dimension, const std::string& where) {
  const Family known = family(dimension);
  const std::string_view trimmed = trim(text);
  double value = 0;
  const auto [end, error] = std::from_chars(trimmed.data(), trimmed.data() + trimmed.size(), value);
  if (error != std::errc{} || !std::isfinite(value) || value < 0) {
    core::fail_input("{}: found '{}', expected {}", where, text, known.example);
  }
  const std::string_view unit = trim(trimmed.substr(static_cast<std::size_t>(end - trimmed.data())));
  if (unit.empty()) core::fail_input("{}: '{}' has no unit, expected {}", where, text, known.example);
  std::vector<std::string> names;
  for (const Unit& candidate : known.units) {
    if (candidate.name == unit) return value * candidate.factor;
    names.emplace_back(candidate.name);
  }
  core::fail_input("{}: unknown unit '{}' in '{}', expected {}{}", where, unit, text, known.example,
                   core::suggestion(unit, names));
}

double require_quantity(const io::ConfigReader& reader, const std::string& key, Dimension dimension) {
  const std::string where = reader.file() + ": key '" + reader.dotted(key) + "'";
  const nlohmann::json& raw = reader.raw(key);
  if (raw.is_number()) {
    core::fail_input("{}: {} has no unit, expected {}", where, raw.dump(), family(dimension).example);
  }
  const double value = parse_quantity(reader.require<std::string>(key), dimension, where);
  if (!(value > 0))
    core::fail_input("{}: found '{}', expected a positive value", where, reader.require<std::string>(key));
  return value;
}

}  // namespace lastbit::sim::cluster

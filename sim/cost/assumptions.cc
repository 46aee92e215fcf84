#include "sim/cost/assumptions.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"

namespace lastbit::sim::cost {
namespace {

struct Known {
  const char* name;
  double low;
  double high;
  // Where a file may leave the name out: what holds then.
  const char* unit = nullptr;
  double otherwise = 0;
  const char* reason = nullptr;
};

constexpr const char* kAsRoofline = "assumed: as the other kernels without a measured table (roofline_efficiency)";

constexpr std::array kKnown{
    Known{"routing_load_factor", 1, 64},
    Known{"solo_compute_sms", 0, 100000, "SMs", 0, "assumed: 0, every SM computes where no communication runs beside"},
    Known{"bf16_gemm_efficiency", 0.01, 1},
    Known{"memory_efficiency", 0.01, 1},
    Known{"roofline_efficiency", 0.01, 1},
    Known{"attention_efficiency", 0.01, 1, "of peak", -1, kAsRoofline},
    Known{"grouped_gemm_efficiency", 0.01, 1, "of peak", -1, kAsRoofline},
    Known{"kernel_gap", 0, 1000, "us", 0, "assumed: kernels without a measured table follow one another at once"},
    Known{"tensor_overlap", 0, 1, "0 to 1", 0, "assumed: nothing hides the exchange among tensor-parallel ranks"},
    Known{"jitter", 1, 10, "x", 1, "assumed: every chunk takes its computed time on every rank"},
    Known{"memory_margin", 0, 1, "of the peak", 0.03, "assumed: lost to fragmentation"},
    Known{"memory_reserved", 0, 1000, "GiB", 2, "assumed: kept by the driver, the runtime and communication libraries"},
    Known{"expert_sync", 0, 1e6},
    Known{"pipeline_exposed", 0, 1},
    Known{"pipeline_bytes", 0.5, 8},
    Known{"reduction_overlap", 0, 1},
    Known{"perfect_kernels", 0, 1},
};

Range read_range(const io::ConfigReader& entry, const Known& known, double value) {
  const auto ends = entry.require<std::vector<double>>("range");
  if (ends.size() != 2 || !(ends[0] <= ends[1]) || ends[0] < known.low || ends[1] > known.high) {
    entry.fail("range", fmt::format("[low, high] between {:g} and {:g}", known.low, known.high));
  }
  // A value that was set beyond the range takes the range's end with it.
  return {std::min(ends[0], value), std::max(ends[1], value)};
}

}  // namespace

Assumptions Assumptions::read(const io::ConfigReader& reader) {
  Assumptions assumptions;
  for (const Known& known : kKnown) {
    Assumption assumption;
    assumption.name = known.name;
    if (known.reason != nullptr && !reader.has(known.name)) {
      assumption.value = known.otherwise < 0 ? assumptions["roofline_efficiency"] : known.otherwise;
      assumption.unit = known.unit;
      assumption.source = known.reason;
      assumptions.entries_.push_back(std::move(assumption));
      continue;
    }
    const io::ConfigReader entry = reader.require_object(known.name);
    assumption.value = entry.require_in("value", known.low, known.high);
    // A value set for a name that the file leaves out keeps the unit and the reason of its default.
    const bool optional = known.reason != nullptr;
    assumption.unit = optional ? entry.get_or<std::string>("unit", known.unit) : entry.require<std::string>("unit");
    assumption.source =
        optional ? entry.get_or<std::string>("source", known.reason) : entry.require<std::string>("source");
    if (entry.has("range")) assumption.range = read_range(entry, known, assumption.value);
    entry.finish();
    assumptions.entries_.push_back(std::move(assumption));
  }
  reader.finish();
  return assumptions;
}

double Assumptions::operator[](const char* name) const {
  for (const Assumption& entry : entries_) {
    if (entry.name == name) return entry.value;
  }
  core::check(false, "assumption is in the list");
  return 0;
}

void Assumptions::set(const std::string& name, double value) {
  for (Assumption& entry : entries_) {
    if (entry.name == name) entry.value = value;
  }
}

void Assumptions::choose(const std::string& name) {
  for (Assumption& entry : entries_) {
    if (entry.name == name) entry.chosen = true;
  }
}

void Assumptions::calibrate(const std::string& name, double value, const std::string& source) {
  const auto known = std::find_if(kKnown.begin(), kKnown.end(), [&](const Known& entry) { return entry.name == name; });
  core::check(known != kKnown.end(), "a calibration names an assumption of the list");
  for (Assumption& entry : entries_) {
    if (entry.name != name || entry.chosen) continue;
    if (entry.range) {
      const double ratio = value / entry.value;
      entry.range =
          Range{std::max(known->low, entry.range->low * ratio), std::min(known->high, entry.range->high * ratio)};
    }
    entry.value = value;
    entry.source = source;
  }
}

}  // namespace lastbit::sim::cost

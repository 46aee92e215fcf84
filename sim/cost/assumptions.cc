#include "sim/cost/assumptions.h"

#include <array>

#include "core/error.h"

namespace lastbit::sim::cost {
namespace {

struct Known {
  const char* name;
  double low;
  double high;
};

constexpr std::array kKnown{
    Known{"routing_load_factor", 1, 64}, Known{"solo_compute_sms", 1, 100000},  Known{"bf16_gemm_efficiency", 0.01, 1},
    Known{"memory_efficiency", 0.01, 1}, Known{"roofline_efficiency", 0.01, 1}, Known{"expert_sync", 0, 1e6},
    Known{"pipeline_exposed", 0, 1},     Known{"pipeline_bytes", 0.5, 8},       Known{"reduction_overlap", 0, 1},
    Known{"perfect_kernels", 0, 1},
};

}  // namespace

Assumptions Assumptions::read(const io::ConfigReader& reader) {
  Assumptions assumptions;
  for (const Known& known : kKnown) {
    const io::ConfigReader entry = reader.require_object(known.name);
    Assumption assumption;
    assumption.name = known.name;
    assumption.value = entry.require_in("value", known.low, known.high);
    assumption.unit = entry.require<std::string>("unit");
    assumption.source = entry.require<std::string>("source");
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

}  // namespace lastbit::sim::cost

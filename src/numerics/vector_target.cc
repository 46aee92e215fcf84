#include "numerics/vector_target.h"

#include <hwy/highway.h>

#include <algorithm>

#include "core/error.h"
#include "numerics/parse.h"

namespace lastbit::numerics {
namespace {

// Highway numbers its targets so that the lowest bit is the fastest.
std::vector<std::int64_t> bits_of(std::int64_t targets) {
  std::vector<std::int64_t> bits;
  for (; targets != 0; targets &= targets - 1) bits.push_back(targets & -targets);
  return bits;
}

std::vector<std::string> names_of(std::int64_t targets) {
  std::vector<std::string> names;
  for (const std::int64_t bit : bits_of(targets)) names.emplace_back(hwy::TargetName(bit));
  return names;
}

std::int64_t runnable() {
  static const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  return targets;
}

}  // namespace

std::vector<std::string> compiled_vector_targets() { return names_of(HWY_TARGETS); }

std::vector<std::string> vector_targets() { return names_of(runnable()); }

std::string vector_target() { return names_of(hwy::SupportedTargets() & HWY_TARGETS).front(); }

void use_vector_target(std::string_view name) {
  (void)runnable();  // before anything is hidden
  if (name.empty()) {
    hwy::SetSupportedTargetsForTest(0);
    return;
  }
  const std::int64_t wanted = bits_of(HWY_TARGETS)[require_name("instruction set", name, compiled_vector_targets())];
  if ((wanted & runnable()) == 0) core::fail_unsupported("instruction set {}: this machine cannot run it", name);
  hwy::SetSupportedTargetsForTest(wanted);
}

}  // namespace lastbit::numerics

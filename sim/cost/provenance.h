// Where a time comes from: every prediction says how much of it was measured and how much was not.
#pragma once

#include <array>
#include <cstddef>

namespace lastbit::sim::cost {

enum class Provenance {
  kMeasured,      // this kernel, shape and number of SMs
  kInterpolated,  // between measured shapes, or a measured shape carried to another number of SMs
  kExtrapolated,  // beyond the measured shapes, or from the nearest other shapes or another GPU
  kRoofline,      // FLOPs or bytes over peak times an assumed efficiency
};
inline constexpr std::size_t kNumProvenances = 4;
inline constexpr std::array<const char*, kNumProvenances> kProvenanceNames{"measured", "interpolated", "extrapolated",
                                                                           "roofline"};

// The less trustworthy of the two.
[[nodiscard]] constexpr Provenance weaker(Provenance a, Provenance b) { return a < b ? b : a; }

struct Timed {
  double seconds = 0;
  Provenance provenance = Provenance::kMeasured;
};

}  // namespace lastbit::sim::cost

// Quantities with units, as cluster, job and calibration files write them: "400 Gb/s", "3.7 us", "80 GiB".
#pragma once

#include <string>
#include <string_view>

#include "io/config_reader.h"

namespace lastbit::sim::cluster {

enum class Dimension {
  kTime,         // -> s
  kBytes,        // -> B
  kBandwidth,    // -> B/s; bits when written "b/s"
  kComputeRate,  // -> FLOP/s
  kPower,        // -> W
};

// The value in SI units. `where` ("FILE: key 'a.b'") begins the message of an Error(kInput): no number, no unit, a unit
// of another dimension (with a suggestion), a negative or non-finite value.
[[nodiscard]] double parse_quantity(std::string_view text, Dimension dimension, const std::string& where);

// The string at `key`, parsed; a bare number is refused for its missing unit. Values must be positive.
[[nodiscard]] double require_quantity(const io::ConfigReader& reader, const std::string& key, Dimension dimension);

}  // namespace lastbit::sim::cluster

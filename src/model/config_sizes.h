// Sizes in a configuration: whole numbers within bounds that keep later products in 64 bits.
#pragma once

#include <cstdint>
#include <string>

#include "io/config_reader.h"

namespace lastbit::model {

inline constexpr std::int64_t kLargestSize = std::int64_t{1} << 40;  // products of three are checked later

// A size of at least 1.
[[nodiscard]] inline std::int64_t require_size(const io::ConfigReader& reader, const std::string& key) {
  return reader.require_in(key, std::int64_t{1}, kLargestSize);
}

// A size that may be missing or null, which means 0; 0 itself is refused unless `zero_allowed`.
[[nodiscard]] inline std::int64_t optional_size(const io::ConfigReader& reader, const std::string& key,
                                                bool zero_allowed = true) {
  if (!reader.has(key)) return 0;
  return reader.require_in(key, std::int64_t{zero_allowed ? 0 : 1}, kLargestSize);
}

}  // namespace lastbit::model

// "Did you mean ...?" for keys, units, presets and tap names.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace lastbit::core {

// The number of single-character insertions, deletions, replacements and swaps of neighbours between a and b.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

// " (did you mean 'x'?)" with the closest candidate, or "" if none is close (distance <= 1 + length / 4).
[[nodiscard]] std::string suggestion(std::string_view name, std::span<const std::string> candidates);

}  // namespace lastbit::core

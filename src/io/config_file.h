// Configuration files: JSON or TOML, by extension, as one JSON value.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace lastbit::io {

// An object read from `path`: TOML for ".toml", else JSON for ".json".
// Errors: bad input with file, line and column in one line; duplicate keys; a document that is not an object.
[[nodiscard]] nlohmann::json load_config_file(const std::string& path);

// TOML from memory. Dates and times are refused: nothing in a config is one.
[[nodiscard]] nlohmann::json parse_toml(std::string_view text, const std::string& name);

}  // namespace lastbit::io

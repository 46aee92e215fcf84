// Strict JSON: one document, no duplicate keys, errors in one line.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace lastbit::io {

// Errors: bad input that names `name`, line and column of what cannot be read, or the key that is there twice.
[[nodiscard]] nlohmann::json parse_json(std::string_view text, const std::string& name);
[[nodiscard]] nlohmann::json load_json(const std::string& path);

// "string 'abc'", "number 3", "an object of 4 keys": a value for messages, in one short line.
[[nodiscard]] std::string describe_json(const nlohmann::json& value);

}  // namespace lastbit::io

// Fields of the objects of tokenizer.json, with errors that name what was found.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace lastbit::text {

// The start of a text, for messages.
[[nodiscard]] std::string shortened(const std::string& text);

// Errors (bad input): `object` is not an object, or the field is missing or of another type. `name` precedes messages.
[[nodiscard]] const nlohmann::json& require_field(const nlohmann::json& object, const std::string& key,
                                                  const std::string& name);
[[nodiscard]] std::string require_string(const nlohmann::json& object, const std::string& key, const std::string& name);
[[nodiscard]] const nlohmann::json& require_array(const nlohmann::json& object, const std::string& key,
                                                  const std::string& name);
// `otherwise` when the field is missing or null.
[[nodiscard]] bool bool_or(const nlohmann::json& object, const std::string& key, bool otherwise,
                           const std::string& name);

}  // namespace lastbit::text

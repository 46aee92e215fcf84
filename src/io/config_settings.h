// Changes to a configuration from the command line.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace lastbit::io {

// Applies each "a.b.c=value" to `object`: a value is JSON, else a string; objects are made on the way, an index of an
// array must exist. Errors (bad input): no '=', an empty part of a key, a key inside what is no object.
void apply_settings(nlohmann::json& object, const std::vector<std::string>& settings);

}  // namespace lastbit::io

// Reading model configurations: presets by name, Hugging Face directories, config.json files.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "model/config.h"

namespace lastbit::model {

// Where the configuration of `name_or_path` lies: a preset's name (data/models/NAME.json), else a directory that holds
// config.json, else a file. A word that is a preset always means the preset; write ./word for a directory.
// Errors: bad input, with the presets' closest name as a suggestion.
[[nodiscard]] std::string model_config_path(const std::string& name_or_path);

// The checked configuration of a preset, directory or file (see model_config_path).
// Errors: bad input naming the key, what was found and what was expected; unknown keys with a suggestion. Valid
// features of Hugging Face that Lastbit lacks (other rope_scaling types or quantisations) are unsupported.
[[nodiscard]] ModelConfig load_model_config(const std::string& name_or_path);

// The same from an object in the form of Hugging Face's config.json; `file` stands for it in messages.
[[nodiscard]] ModelConfig parse_model_config(const nlohmann::json& object, const std::string& file);

// Names of the presets in data/models, sorted.
[[nodiscard]] std::vector<std::string> model_presets();

// The config.json of a checkpoint written from that of `object`: without our notes and without a quantization_config.
[[nodiscard]] nlohmann::json checkpoint_config(nlohmann::json object, const std::string& torch_dtype);

}  // namespace lastbit::model

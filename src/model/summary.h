// What `lastbit inspect` and `lastbit presets` say of a model, as text and for machines.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/config.h"

namespace lastbit::model {

// Parameters (total, active in both readings), FLOPs a token and cache bytes a token, by component; `name` is how the
// user called the model, sequence_tokens the length at which attention is counted.
[[nodiscard]] nlohmann::json summary_json(const ModelConfig& config, const std::string& name,
                                          std::int64_t sequence_tokens);

// The same as an aligned table.
[[nodiscard]] std::string summary_text(const ModelConfig& config, const std::string& name,
                                       std::int64_t sequence_tokens);

// "671.0B parameters, 37.6B active; 61 layers, MLA, 1 + 256 experts, top 8": one line for a list.
[[nodiscard]] std::string summary_line(const ModelConfig& config);

}  // namespace lastbit::model

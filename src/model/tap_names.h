// The names of what a model can be asked for.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "model/config.h"

namespace lastbit::model {

// In the order of the data's journey. `mtp`: the checkpoint has MTP modules.
[[nodiscard]] std::vector<std::string> forward_tap_names(const ModelConfig& config, bool mtp);
// Names of forward() that the loss pass has, too, then those of gradients.
[[nodiscard]] std::vector<std::string> loss_tap_names(const ModelConfig& config, bool mtp);

// Errors: a tap that is not among the names is bad input, with a suggestion.
[[nodiscard]] std::set<std::string> require_taps(const std::vector<std::string>& taps,
                                                 const std::vector<std::string>& names, const ModelConfig& config);

}  // namespace lastbit::model

// A run of seconds: a model of a few thousand weights on a text made here.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "support/shared.h"
#include "train/train_config.h"

namespace lastbit::train {

// The config of such a run of six steps below `folder`, whose text it writes: two layers, the second with experts, MTP,
// BF16 moments, a batch that grows, two micro-batches. `changes` are merged into it.
[[nodiscard]] nlohmann::json small_run(const testing::TempDir& folder, const nlohmann::json& changes = {});
[[nodiscard]] TrainConfig small_config(const testing::TempDir& folder, const nlohmann::json& changes = {});

}  // namespace lastbit::train

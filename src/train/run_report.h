// A run as a page of pictures.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace lastbit::train {

// From the lines of metrics.jsonl: loss, bits per byte, learning rate, gradient norm, MaxVio, speed, each MoE layer's
// load by expert over time, and what FP8 lost against FP32 where a shadow was recorded. HTML that needs no network.
[[nodiscard]] std::string run_report(const std::vector<nlohmann::json>& lines);

}  // namespace lastbit::train

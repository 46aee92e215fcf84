// A run's metrics as JSON lines, which an interrupted run goes on with.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ops/shadow.h"
#include "train/trainer.h"

namespace lastbit::train {

class MetricsLog {
 public:
  // Opens `path` for a run that stands after `step`: lines of later steps, which the run will take again, go, and so
  // does a line that a killed run left unfinished. With step 0 the file starts anew.
  MetricsLog(std::string path, std::int64_t step);

  // Appends one line; it is with the system when this returns. Errors: I/O.
  void append(const nlohmann::json& line);

 private:
  std::string path_;
};

// All whole lines of a log. Errors (bad input): a missing file, a line in the middle that is no JSON object.
[[nodiscard]] std::vector<nlohmann::json> read_metrics(const std::string& path);

// {"step", "tokens", "loss", ..., "layers": [{"layer", "load", "max_violation", ...}], "passes_s", ...}
[[nodiscard]] nlohmann::json to_json(const StepReport& report);

// What products on tensor cores lost against FP32, by kind of layer (names without layer and expert numbers) and
// product: {"mlp.experts.gate_proj": {"fprop": {"relative_error", "flushed_share", "saturated_share"}, ...}, ...}
[[nodiscard]] nlohmann::json summarise_shadow(const ops::Shadow& shadow);

}  // namespace lastbit::train

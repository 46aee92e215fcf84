// What a model has besides its layers: embedding, output head with its loss, and the projection of an MTP module.
#pragma once

#include <vector>

#include "sim/workload/layer.h"

namespace lastbit::sim::workload {

struct EndWork {
  std::vector<Operator> forward;
  std::vector<Operator> backward;  // input gradient
  std::vector<Operator> weight;    // weight gradient
};

[[nodiscard]] EndWork embedding_work(const LayerSetting& setting);
// Final norm, head in BF16, cross-entropy on FP32 logits.
[[nodiscard]] EndWork head_work(const LayerSetting& setting);
// Two norms, embedding of the next tokens, and the Linear 2d -> d (DeepSeek-V3 report, section 2.2).
[[nodiscard]] EndWork mtp_projection_work(const LayerSetting& setting);

}  // namespace lastbit::sim::workload

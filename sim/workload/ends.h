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

// FLOPs a token of training that MFU counts: 6 x active parameters in matrices (head included, embedding not) and
// attention, causal or over all pairs; without MTP and recomputation (simulation spec: 250.5 GFLOP for V3 at 4096).
[[nodiscard]] double training_flops_per_token(const model::ModelConfig& model, double sequence_tokens, bool causal);

}  // namespace lastbit::sim::workload

// What a micro-batch leaves on a rank between its forward and its backward.
#pragma once

#include <string>
#include <vector>

#include "sim/workload/layer.h"

namespace lastbit::sim::memory {

// A named share of memory.
struct Part {
  std::string name;
  double bytes = 0;
};

[[nodiscard]] double total(const std::vector<Part>& parts);
// Adds to the part of that name, or appends it.
void add(std::vector<Part>& parts, const std::string& name, double bytes);

// Kept by one layer for one micro-batch. Operands of weight gradients are kept in the format of the GEMMs (FP8 with one
// FP32 scale per 128, or BF16), residuals and latents in BF16, the attention output of the FP8 recipe in E5M6
// (DeepSeek-V3 report, section 3.3.3). What is recomputed (workload::Recompute) is not kept; full recomputation keeps
// the layer's input alone.
[[nodiscard]] std::vector<Part> layer_activations(const workload::LayerSetting& setting, bool moe);
// Of an MTP module's projection: both its inputs.
[[nodiscard]] std::vector<Part> mtp_projection_activations(const workload::LayerSetting& setting);
// Of the head: its input; the logits are a workspace.
[[nodiscard]] std::vector<Part> head_activations(const workload::LayerSetting& setting);

// Beside them, once: logits with their gradient (where the head is), and the send and receive buffers of dispatch and
// combine in both directions (where experts are shared by ranks).
[[nodiscard]] double logits_bytes(const workload::LayerSetting& setting);
[[nodiscard]] double expert_buffer_bytes(const workload::LayerSetting& setting);

}  // namespace lastbit::sim::memory

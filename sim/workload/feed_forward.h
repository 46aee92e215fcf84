// Operators of the feed-forward part of a layer: dense, or router, experts and shared experts.
#pragma once

#include "sim/workload/layer.h"

namespace lastbit::sim::workload {

void add_dense_ffn(const LayerSetting& setting, LayerWork& work);
// Also the layer's all-to-alls.
void add_moe_ffn(const LayerSetting& setting, LayerWork& work);

}  // namespace lastbit::sim::workload

// Operators of the attention part of a layer.
#pragma once

#include "sim/workload/layer.h"

namespace lastbit::sim::workload {

// Fills the attention segments of `work`: norms, projections, core, output, residual and the FFN's norm.
void add_attention(const LayerSetting& setting, LayerWork& work);

}  // namespace lastbit::sim::workload

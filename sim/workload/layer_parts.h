// Operators that attention and feed-forward parts add only in some settings.
#pragma once

#include <string>
#include <vector>

#include "sim/workload/layer.h"

namespace lastbit::sim::workload {

// Casts and layout copies that quantisation asks for: nothing unless the setting computes in FP8.
void push_fp8(const LayerSetting& setting, std::vector<Operator>& list, Operator op);
// All-gather or reduce-scatter of [tokens, width] BF16 over the tensor-parallel ranks: nothing where there is one.
void push_tensor_exchange(const LayerSetting& setting, std::string name, double width, std::vector<Operator>& list);

}  // namespace lastbit::sim::workload

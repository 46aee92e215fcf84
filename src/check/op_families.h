// The entries of op_registry(), by the file that has them.
#pragma once

#include <vector>

#include "check/op_registry.h"

namespace lastbit::check {

[[nodiscard]] std::vector<OpEntry> linear_ops();
[[nodiscard]] std::vector<OpEntry> layer_ops();
[[nodiscard]] std::vector<OpEntry> attention_ops();
[[nodiscard]] std::vector<OpEntry> router_ops();
[[nodiscard]] std::vector<OpEntry> expert_ops();
[[nodiscard]] std::vector<OpEntry> balance_ops();
[[nodiscard]] std::vector<OpEntry> loss_ops();
[[nodiscard]] std::vector<OpEntry> quantize_ops();
[[nodiscard]] std::vector<OpEntry> optimizer_ops();
[[nodiscard]] std::vector<OpEntry> sampling_ops();
[[nodiscard]] std::vector<OpEntry> packing_ops();

}  // namespace lastbit::check

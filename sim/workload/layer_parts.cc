#include "sim/workload/layer_parts.h"

#include <utility>

namespace lastbit::sim::workload {

void push_fp8(const LayerSetting& setting, std::vector<Operator>& list, Operator op) {
  if (setting.format == Format::kFp8) list.push_back(std::move(op));
}

void push_tensor_exchange(const LayerSetting& setting, std::string name, double width, std::vector<Operator>& list) {
  const double ranks = setting.tensor_parallel;
  if (ranks <= 1) return;
  Operator op;
  op.name = std::move(name);
  op.kind = OpKind::kTensorExchange;
  op.nvlink_bytes = setting.tokens * width * 2 * (ranks - 1) / ranks;
  list.push_back(std::move(op));
}

}  // namespace lastbit::sim::workload

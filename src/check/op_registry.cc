#include "check/op_registry.h"

#include <cmath>
#include <iterator>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "core/error.h"
#include "core/suggest.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

template <typename T>
void refuse_nan(const OpEntry& op, const std::string& name, const Tensor& result) {
  const auto values = result.values<T>();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (std::isnan(values[i]))
      core::fail_input(
          "{}: {} {} has a NaN at element {}: finite inputs overflow on the way there, expected smaller "
          "ones",
          op.name, name, tensor::to_string(result.shape()), i);
}

}  // namespace

const std::vector<OpEntry>& op_registry() {
  static const std::vector<OpEntry> kRegistry = [] {
    std::vector<OpEntry> all;
    for (auto* family : {layer_ops, linear_ops, attention_ops, router_ops, expert_ops, balance_ops, loss_ops,
                         quantize_ops, optimizer_ops, sampling_ops, packing_ops}) {
      std::vector<OpEntry> entries = family();
      all.insert(all.end(), std::make_move_iterator(entries.begin()), std::make_move_iterator(entries.end()));
    }
    return all;
  }();
  return kRegistry;
}

const OpEntry& find_op(const std::string& name) {
  std::vector<std::string> names;
  for (const OpEntry& op : op_registry()) {
    if (op.name == name) return op;
    names.push_back(op.name);
  }
  core::fail_input("unknown operator '{}'{}; lastbit op --list shows all {}", name, core::suggestion(name, names),
                   names.size());
}

NamedTensors run_op(const OpEntry& op, const NamedTensors& inputs, const OpSettings& settings) {
  NamedTensors results = op.run(OpArguments(op, inputs, settings));
  for (const auto& [name, result] : results) {
    if (result.dtype() == DType::kF32) refuse_nan<float>(op, name, result);
    if (result.dtype() == DType::kF64) refuse_nan<double>(op, name, result);
  }
  return results;
}

}  // namespace lastbit::check

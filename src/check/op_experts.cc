// Around the experts: dispatch, combine, their loads and the bias that evens them out.
#include <cstdint>
#include <limits>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "ops/bias_update.h"
#include "ops/load_metrics.h"
#include "ops/permutation.h"

namespace lastbit::check {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;

// Experts 0 to experts - 1, ascending within a token, or -1.
void check_routing(const OpArguments& in, const std::string& name, std::int64_t experts) {
  in.require_range(name, -1, experts);
  const Tensor& routing = in.tensor(name);
  const auto chosen = routing.values<std::int64_t>();
  const auto top_k = static_cast<std::size_t>(routing.dim(1));
  std::int64_t previous = -1;
  for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
    if (slot % top_k == 0) previous = -1;
    if (chosen[slot] == -1) continue;
    if (chosen[slot] <= previous)
      core::fail_input("{}: {} has expert {} behind {} in row {}, expected them to ascend", in.op(), name, chosen[slot],
                       previous, slot / top_k);
    previous = chosen[slot];
  }
}

ops::ExpertPermutation permutation_of(const OpArguments& in) {
  const std::int64_t experts = in.whole("experts");
  check_routing(in, "topk_idx", experts);
  ops::ExpertPermutation permutation = ops::expert_permutation(in.tensor("topk_idx"), experts);
  const std::string rows_of = in.op() == "dispatch" ? "dy" : "x";
  if (in.has(rows_of) && in.size("rows") != permutation.rows())
    core::fail_input("{}: {} has {} rows, expected {}: one for each expert of topk_idx", in.op(), rows_of,
                     in.size("rows"), permutation.rows());
  return permutation;
}

NamedTensors run_dispatch(const OpArguments& in) {
  const ops::ExpertPermutation permutation = permutation_of(in);
  NamedTensors out{{"y", ops::dispatch(in.tensor("x"), permutation)},
                   {"offsets", vector_result(permutation.offsets)},
                   {"slot_of_row", vector_result(permutation.slot_of_row)}};
  if (const Tensor* dy = in.find("dy")) out.emplace("dx", ops::dispatch_backward(*dy, permutation));
  return out;
}

NamedTensors run_combine(const OpArguments& in) {
  const ops::ExpertPermutation permutation = permutation_of(in);
  const Tensor& x = in.tensor("x");
  const Tensor& weights = in.tensor("topk_weight");
  NamedTensors out{{"y", ops::combine(x, weights, permutation)}};
  if (const Tensor* dy = in.find("dy")) {
    const ops::CombineGradients gradients = ops::combine_backward(*dy, x, weights, permutation);
    out.emplace("dx", gradients.doutputs);
    out.emplace("grad_topk_weight", gradients.dweights);
  }
  return out;
}

NamedTensors run_load_metrics(const OpArguments& in) {
  const std::int64_t experts = in.whole("experts");
  const std::int64_t nodes = in.whole("nodes");
  if (experts % nodes != 0)
    core::fail_input("{}: {} experts on {} nodes, expected as many on each", in.op(), experts, nodes);
  ops::Routing routing;
  check_routing(in, "topk_idx", experts);
  routing.experts = in.tensor("topk_idx");
  routing.chosen = routing.experts;
  if (const Tensor* chosen = in.find("chosen_idx")) {
    check_routing(in, "chosen_idx", experts);
    routing.chosen = *chosen;
  }
  const ops::LoadMetrics metrics = ops::load_metrics(routing, experts, nodes);
  return {{"load", vector_result(metrics.load)},
          {"mean", scalar_result(metrics.mean)},
          {"max_over_mean", scalar_result(metrics.max_over_mean)},
          {"max_violation", scalar_result(metrics.max_violation)},
          {"standard_deviation", scalar_result(metrics.standard_deviation)},
          {"entropy", scalar_result(metrics.entropy)},
          {"tokens_without_expert", scalar_result(metrics.tokens_without_expert)},
          {"share_on_nodes", vector_result(metrics.share_on_nodes)}};
}

NamedTensors run_bias_update(const OpArguments& in) {
  const auto load = in.tensor("load").values<std::int64_t>();
  const auto experts = std::ssize(load);
  // The update compares load * experts with the sum of loads: both stay below 2^63.
  in.require_range("load", 0, std::numeric_limits<std::int64_t>::max() / experts / experts);
  Tensor bias = in.tensor("bias").clone();
  ops::update_bias(bias, load, in.number("gamma"), in.number("tolerance"));
  return {{"bias", bias}};
}

}  // namespace

std::vector<OpEntry> expert_ops() {
  const OpElements kFloat = OpElements::kFloat;
  const OpElements kIndex = OpElements::kIndex;
  const OpSetting experts = whole_setting("experts", "", 1, kManyExperts, "how many there are; required");
  const OpInput topk_idx{"topk_idx", kIndex, "[tokens, K]", "experts, ascending; -1 for an unused slot"};
  return {
      {"dispatch",
       "Tokens' rows gathered by expert",
       {{"x", kFloat, "[tokens, d]", "one row a token"}, topk_idx, {"dy", kFloat, "[rows, d]", "gradient of y", false}},
       {experts},
       {{"y", "[rows, d]", "expert after expert, within one in token order"},
        {"offsets", "[experts+1]", "expert e has the rows offsets[e] to offsets[e + 1] - 1"},
        {"slot_of_row", "[rows]", "token * K + place"},
        {"dx", "[tokens, d]", "with dy"}},
       run_dispatch},
      {"combine",
       "Experts' rows times their weights, added up by token",
       {{"x", kFloat, "[rows, d]", "as dispatch orders them"},
        topk_idx,
        {"topk_weight", kFloat, "[tokens, K]", "gate values"},
        {"dy", kFloat, "[tokens, d]", "gradient of y", false}},
       {experts},
       {{"y", "[tokens, d]", "experts ascending"},
        {"dx", "[rows, d]", "with dy"},
        {"grad_topk_weight", "[tokens, K]", "with dy"}},
       run_combine},
      {"load_metrics",
       "How evenly the experts are loaded, and how far tokens go",
       {topk_idx, {"chosen_idx", kIndex, "[tokens, K]", "before any were dropped (default: topk_idx)", false}},
       {experts, whole_setting("nodes", "1", 1, kManyExperts, "nodes of experts / nodes consecutive experts")},
       {{"load", "[experts]", "tokens that chose each, before any were dropped"},
        {"mean", "[1]", "of load"},
        {"max_over_mean", "[1]", "1: even"},
        {"max_violation", "[1]", "MaxVio: max / mean - 1"},
        {"standard_deviation", "[1]", "of load"},
        {"entropy", "[1]", "of load / total, in nats"},
        {"tokens_without_expert", "[1]", "all of theirs were dropped"},
        {"share_on_nodes", "[nodes+1]", "of tokens whose experts lie on exactly so many nodes"}},
       run_load_metrics},
      {"bias_update",
       "Loss-free balancing: bias +- gamma by the load",
       {{"bias", kFloat, "[experts]", "of the router"}, {"load", kIndex, "[experts]", "tokens that chose each expert"}},
       {number_setting("gamma", "0.001", 0, kLargeFactor, "step"),
        number_setting("tolerance", "0", 0, kLargeFactor, "loads within this share of the mean count as equal")},
       {{"bias", "[experts]", "after the step"}},
       run_bias_update}};
}

}  // namespace lastbit::check

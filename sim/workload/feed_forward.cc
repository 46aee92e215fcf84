#include "sim/workload/feed_forward.h"

#include <string>
#include <utility>

#include "sim/workload/layer_parts.h"

namespace lastbit::sim::workload {
namespace {

// Tokens between the matrices, divided among the tensor-parallel ranks.
double rows_between(const LayerSetting& setting) { return setting.tokens / setting.tensor_parallel; }

// A gated FFN of `width` on every token: a dense layer's FFN, or the shared experts of a MoE layer together.
void add_gated_ffn(const LayerSetting& setting, const std::string& name, double full_width, LayerWork& work) {
  const double tokens = setting.tokens;
  const double width = full_width / setting.tensor_parallel;
  const double d = static_cast<double>(setting.model.hidden_size);
  const Format format = setting.format;
  std::vector<Operator>& forward = work.at(Segment::kMlpForward);
  push_tensor_exchange(setting, "all-gather the FFN's input", d, forward);
  forward.push_back(gemm(name + " gate and up", tokens, 2 * width, d, format));
  forward.push_back(memory_bound("shared_swiglu", tokens, width, 8));
  forward.push_back(gemm(name + " down", tokens, d, width, format));
  push_tensor_exchange(setting, "reduce-scatter the FFN's output", d, forward);
  std::vector<Operator>& backward = work.at(Segment::kMlpBackward);
  push_tensor_exchange(setting, "all-gather the FFN's gradient", d, backward);
  backward.push_back(gemm(name + " down, input gradient", tokens, width, d, format));
  backward.push_back(memory_bound("shared_swiglu_bwd", tokens, width, 16));
  backward.push_back(gemm(name + " gate and up, input gradient", tokens, d, 2 * width, format));
  push_tensor_exchange(setting, "reduce-scatter the FFN input's gradient", d, backward);
  push_tensor_exchange(setting, "all-gather the FFN's input again", d, backward);
  push_fp8(setting, backward, memory_bound("shared_transposes", tokens, d + 2 * width, 3));
  std::vector<Operator>& weight = work.at(Segment::kMlpWeight);
  weight.push_back(gemm_wgrad(name + " down", tokens, d, width, format));
  weight.push_back(gemm_wgrad(name + " gate and up", tokens, 2 * width, d, format));
}

void add_common(const LayerSetting& setting, LayerWork& work) {
  const double d = static_cast<double>(setting.model.hidden_size);
  const double rows = rows_between(setting);
  push_fp8(setting, work.at(Segment::kAttentionForward), memory_bound("ffn_input_cast", rows, d, 3.03125));
  std::vector<Operator>& backward = work.at(Segment::kMlpBackward);
  push_fp8(setting, backward, memory_bound("ffn_grad_in", rows, d, 3));
  if (setting.recompute == Recompute::kSelective)
    backward.push_back(recomputed(memory_bound("ffn_norm_recompute", rows, d, 7)));
}

Operator router(std::string name, const LayerSetting& setting, double bytes, double model_flops) {
  Operator op =
      memory_bound(std::move(name), rows_between(setting), static_cast<double>(setting.model.hidden_size), bytes);
  op.cost.flops = model_flops;
  op.model_flops = model_flops;
  return op;
}

void add_router(const LayerSetting& setting, LayerWork& work) {
  const double rows = rows_between(setting);
  const double experts = static_cast<double>(setting.model.n_routed_experts);
  const double flops = 2 * rows * static_cast<double>(setting.model.hidden_size) * experts;
  std::vector<Operator>& forward = work.at(Segment::kAttentionForward);
  forward.push_back(router("router_gemm", setting, 2, flops));
  forward.push_back(memory_bound("router_select", rows, experts, 24));
  std::vector<Operator>& backward = work.at(Segment::kAttentionBackward);
  backward.insert(backward.begin(), {memory_bound("router_select_bwd", rows, experts, 24),
                                     router("router_gemm_bwd", setting, 4, 2 * flops)});
}

void add_experts(const LayerSetting& setting, double rows, LayerWork& work) {
  const double d = static_cast<double>(setting.model.hidden_size);
  const double width = static_cast<double>(setting.model.moe_intermediate_size);
  const double groups = setting.routing.experts / setting.routing.expert_ranks;
  const Format format = setting.format;
  std::vector<Operator>& forward = work.at(Segment::kMlpForward);
  forward.push_back(memory_bound("routing_map", rows_between(setting), setting.routing.top_k, 16));
  forward.push_back(memory_bound("permute", rows, d, 4));
  forward.push_back(grouped_gemm("experts gate and up", rows, 2 * width, d, groups, format));
  forward.push_back(memory_bound("routed_swiglu", rows, width, 7));
  forward.push_back(grouped_gemm("experts down", rows, d, width, groups, format));
  forward.push_back(memory_bound("unpermute", rows, d, 4));
  push_fp8(setting, forward, memory_bound("routed_cache_cast", rows, 2 * width, 3));
  std::vector<Operator>& backward = work.at(Segment::kMlpBackward);
  push_fp8(setting, backward, memory_bound("routed_cast_back", rows, 2 * width, 3));
  backward.push_back(memory_bound("permute_bwd", rows, d, 2));
  backward.push_back(grouped_gemm("experts down, input gradient", rows, width, d, groups, format));
  backward.push_back(memory_bound("routed_swiglu_bwd", rows, width, 15));
  push_fp8(setting, backward, memory_bound("routed_grad_cast", rows, 2 * width, 3));
  backward.push_back(grouped_gemm("experts gate and up, input gradient", rows, d, 2 * width, groups, format));
  backward.push_back(memory_bound("unpermute_bwd", rows, d, 4));
  push_fp8(setting, backward, memory_bound("routed_transpose", rows, 2 * width, 3));
  std::vector<Operator>& weight = work.at(Segment::kMlpWeight);
  push_fp8(setting, weight, memory_bound("routed_wgrad_transposes", rows, 2 * d, 2));
  weight.push_back(grouped_gemm_wgrad("experts down", rows, d, width, groups, format));
  weight.push_back(grouped_gemm_wgrad("experts gate and up", rows, 2 * width, d, groups, format));
}

// A token crosses the NIC once per other node that it goes to, and NVLink once per other GPU there
// (DeepSeek-V3 report, section 3.2.2).
Transfer transfer(const LayerSetting& setting, double element_bytes) {
  const RoutingShape& routing = setting.routing;
  const double nodes = expert_nodes(routing);
  const double local = routing.expert_ranks / nodes;
  const double token_bytes = static_cast<double>(setting.model.hidden_size) * element_bytes;
  const double bytes = rows_between(setting) * setting.load_factor * token_bytes;
  Transfer result;
  result.logical_bytes = bytes * expected_places(routing, nodes);
  result.nic_bytes = result.logical_bytes * (nodes - 1) / nodes;
  result.nvlink_bytes = bytes * expected_places(routing, routing.expert_ranks) * (local - 1) / local;
  return result;
}

}  // namespace

void add_dense_ffn(const LayerSetting& setting, LayerWork& work) {
  add_common(setting, work);
  add_gated_ffn(setting, "dense FFN", static_cast<double>(setting.model.intermediate_size), work);
}

void add_moe_ffn(const LayerSetting& setting, LayerWork& work) {
  work.moe = true;
  add_common(setting, work);
  add_router(setting, work);
  const double shared = static_cast<double>(setting.model.n_shared_experts * setting.model.moe_intermediate_size);
  if (shared > 0) add_gated_ffn(setting, "shared expert", shared, work);
  add_experts(setting, rows_between(setting) * setting.routing.top_k * setting.load_factor, work);
  if (setting.routing.expert_ranks <= 1) return;
  const Transfer dispatch = transfer(setting, setting.dispatch_bytes);
  const Transfer combine = transfer(setting, setting.combine_bytes);
  work.transfers = {dispatch, combine, dispatch, combine};
}

}  // namespace lastbit::sim::workload

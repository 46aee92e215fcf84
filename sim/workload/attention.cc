#include "sim/workload/attention.h"

#include <algorithm>
#include <utility>

#include "sim/workload/layer_parts.h"

namespace lastbit::sim::workload {
namespace {

// Sizes of this rank's share: heads and what hangs on them are divided among the tensor-parallel ranks, and so are
// `rows`, the tokens between the matrices (sequence parallelism, arXiv 2205.05198).
struct Dims {
  double tokens;    // T
  double rows;      // T / tensor_parallel
  double sequence;  // S, whose keys and values every context-parallel rank expands
  double d;
  double heads;
  double qk;
  double rope;
  double v;
  double q_rank;
  double kv_rank;
};

Dims dims(const LayerSetting& setting) {
  const model::ModelConfig& m = setting.model;
  const bool mla = m.attention == model::AttentionKind::kMla;
  Dims s{};
  s.tokens = setting.tokens;
  s.rows = setting.tokens / setting.tensor_parallel;
  s.sequence = setting.sequence_tokens;
  s.d = static_cast<double>(m.hidden_size);
  s.heads = static_cast<double>(m.num_attention_heads) / setting.tensor_parallel;
  s.rope = static_cast<double>(mla ? m.qk_rope_head_dim : m.head_dim);
  s.qk = static_cast<double>(mla ? m.qk_nope_head_dim + m.qk_rope_head_dim : m.head_dim);
  s.v = static_cast<double>(mla ? m.v_head_dim : m.head_dim);
  s.q_rank = static_cast<double>(mla ? m.q_lora_rank : 0);
  s.kv_rank = static_cast<double>(mla ? m.kv_lora_rank : 0);
  return s;
}

// Sequences of a micro-batch: the expansion of keys and values is for each of them.
double sequences(const LayerSetting& setting) {
  return setting.tokens * setting.context_parallel / setting.sequence_tokens;
}

// Keys and values that other ranks of the sequence hold: latent and rotary key (MLA) or K and V (GQA), BF16.
Operator context_gather(const LayerSetting& setting, const char* name, double width) {
  Operator op;
  op.name = name;
  op.kind = OpKind::kGather;
  const double bytes = setting.sequence_tokens * sequences(setting) * width * 2;
  const double nodes =
      std::max(1.0, setting.context_parallel * setting.tensor_parallel / setting.routing.ranks_per_node);
  const double local = setting.context_parallel / nodes;
  // Hierarchical: each rank fetches its share of the other nodes' tokens, then the node's ranks exchange shares.
  op.nic_bytes = bytes * (nodes - 1) / nodes / local;
  op.nvlink_bytes = bytes * (local - 1) / local;
  return op;
}

// Work of the model in what is done on whole sequences by each of the context-parallel ranks: one rank's share.
Operator shared_work(Operator op, const LayerSetting& setting) {
  op.model_flops /= setting.context_parallel;
  return op;
}

void push_core(const LayerSetting& setting, const Dims& s, OpKind kind, std::vector<Operator>& list) {
  const auto core = setting.fused_attention ? attention_core : plain_attention_core;
  const double queries = s.tokens / sequences(setting);
  Operator op = core(kind, queries, s.sequence, s.heads, s.qk, s.v);
  op.scale(sequences(setting));
  list.push_back(std::move(op));
}

void add_mla_forward(const LayerSetting& setting, const Dims& s, std::vector<Operator>& forward) {
  const Format format = setting.format;
  const double q_out = s.heads * s.qk;
  const double kv_out = s.heads * (s.qk - s.rope + s.v);
  const double all = s.sequence * sequences(setting);
  forward.push_back(memory_bound("attention_norms", s.rows, s.d + s.q_rank + s.kv_rank, 4));
  push_fp8(setting, forward, memory_bound("attention_casts", s.rows, 2 * s.d + s.q_rank + s.kv_rank, 3.03125));
  if (s.q_rank > 0) forward.push_back(gemm("query down-projection", s.rows, s.q_rank, s.d, format));
  forward.push_back(gemm("latent down-projection", s.rows, s.kv_rank + s.rope, s.d, format));
  if (setting.context_parallel > 1) {
    forward.push_back(context_gather(setting, "gather latents", s.kv_rank + s.rope));
  }
  push_tensor_exchange(setting, "all-gather latents", s.q_rank + s.kv_rank + s.rope, forward);
  forward.push_back(gemm("query up-projection", s.tokens, q_out, s.q_rank > 0 ? s.q_rank : s.d, format));
  forward.push_back(shared_work(gemm("latent up-projection", all, kv_out, s.kv_rank, format), setting));
  forward.push_back(memory_bound("key_layout", all, s.heads * s.qk, 4));
  forward.push_back(memory_bound("query_rope", s.tokens, s.heads * s.rope, 4));
}

// What selective recomputation does again: latent norms and up-projections (DeepSeek-V3 report, section 3.2.3).
void add_mla_recomputation(const LayerSetting& setting, const Dims& s, std::vector<Operator>& backward) {
  const Format format = setting.format;
  const double q_out = s.heads * s.qk;
  const double kv_out = s.heads * (s.qk - s.rope + s.v);
  const double all = s.sequence * sequences(setting);
  backward.push_back(recomputed(memory_bound("latent_norms_recompute", s.rows, s.q_rank + s.kv_rank, 7)));
  backward.push_back(recomputed(gemm("query up-projection", s.tokens, q_out, s.q_rank > 0 ? s.q_rank : s.d, format)));
  if (setting.context_parallel > 1) {
    backward.push_back(context_gather(setting, "gather latents again", s.kv_rank + s.rope));
  }
  push_tensor_exchange(setting, "all-gather latents again", s.q_rank + s.kv_rank + s.rope, backward);
  backward.push_back(recomputed(gemm("latent up-projection", all, kv_out, s.kv_rank, format)));
  backward.push_back(recomputed(memory_bound("key_layout_recompute", all, s.heads * s.qk, 4)));
  backward.push_back(recomputed(memory_bound("query_rope_recompute", s.tokens, s.heads * s.rope, 4)));
}

void add_mla_backward(const LayerSetting& setting, const Dims& s, std::vector<Operator>& backward) {
  const Format format = setting.format;
  const double q_out = s.heads * s.qk;
  const double kv_out = s.heads * (s.qk - s.rope + s.v);
  const double q_in = s.q_rank > 0 ? s.q_rank : s.d;
  const double all = s.sequence * sequences(setting);
  if (setting.recompute == Recompute::kSelective) add_mla_recomputation(setting, s, backward);
  backward.push_back(memory_bound("attention_pre_post", s.tokens, s.heads * (s.qk + s.v), 6));
  push_core(setting, s, OpKind::kAttentionBackward, backward);
  push_fp8(setting, backward, memory_bound("query_grad_casts", s.tokens, q_out, 7));
  backward.push_back(gemm("query up-projection, input gradient", s.tokens, q_in, q_out, format));
  push_fp8(setting, backward, memory_bound("key_value_grad_casts", all, kv_out, 8));
  backward.push_back(
      shared_work(gemm("latent up-projection, input gradient", all, s.kv_rank, kv_out, format), setting));
  if (setting.context_parallel > 1) {
    backward.push_back(context_gather(setting, "reduce-scatter latent gradients", s.kv_rank + s.rope));
  }
  push_tensor_exchange(setting, "reduce-scatter latent gradients", s.q_rank + s.kv_rank + s.rope, backward);
  push_fp8(setting, backward, memory_bound("key_value_transposes", all, kv_out + s.kv_rank, 3));
  push_fp8(setting, backward, memory_bound("query_transposes_and_norms", s.tokens, q_out + s.q_rank, 3));
  push_fp8(setting, backward, memory_bound("latent_grad_casts", s.rows, s.d + s.q_rank + s.kv_rank + s.rope, 8));
  if (setting.format == Format::kBf16) {
    backward.push_back(memory_bound("query_rope_bwd", s.tokens, s.heads * s.rope, 4));
    backward.push_back(memory_bound("latent_norms_bwd", s.rows, s.q_rank + s.kv_rank, 12));
  }
  backward.push_back(gemm("latent down-projection, input gradient", s.rows, s.d, s.kv_rank + s.rope, format));
  if (s.q_rank > 0) {
    backward.push_back(gemm("query down-projection, input gradient", s.rows, s.d, s.q_rank, format));
  }
}

void add_mla_weight(const LayerSetting& setting, const Dims& s, std::vector<Operator>& weight) {
  const Format format = setting.format;
  const double q_out = s.heads * s.qk;
  const double kv_out = s.heads * (s.qk - s.rope + s.v);
  const double all = s.sequence * sequences(setting);
  weight.push_back(shared_work(gemm_wgrad("latent up-projection", all, kv_out, s.kv_rank, format), setting));
  weight.push_back(gemm_wgrad("query up-projection", s.tokens, q_out, s.q_rank > 0 ? s.q_rank : s.d, format));
  weight.push_back(gemm_wgrad("latent down-projection", s.rows, s.kv_rank + s.rope, s.d, format));
  if (s.q_rank > 0) weight.push_back(gemm_wgrad("query down-projection", s.rows, s.q_rank, s.d, format));
}

void add_gqa(const LayerSetting& setting, const Dims& s, LayerWork& work) {
  const Format format = setting.format;
  const double kv_width = static_cast<double>(setting.model.num_key_value_heads) * s.v / setting.tensor_parallel;
  const double out = s.heads * s.qk + 2 * kv_width;
  std::vector<Operator>& forward = work.at(Segment::kAttentionForward);
  forward.push_back(memory_bound("attention_norms", s.rows, s.d, 4));
  push_fp8(setting, forward, memory_bound("attention_casts", s.rows, s.d, 3.03125));
  push_tensor_exchange(setting, "all-gather the layer's input", s.d, forward);
  forward.push_back(gemm("query, key and value projection", s.tokens, out, s.d, format));
  if (setting.context_parallel > 1) forward.push_back(context_gather(setting, "gather keys and values", 2 * kv_width));
  forward.push_back(memory_bound("query_rope", s.tokens, s.heads * s.qk + kv_width, 4));
  std::vector<Operator>& backward = work.at(Segment::kAttentionBackward);
  if (setting.context_parallel > 1) {
    backward.push_back(context_gather(setting, "gather keys and values again", 2 * kv_width));
  }
  if (setting.recompute == Recompute::kSelective) {
    backward.push_back(recomputed(memory_bound("attention_norm_recompute", s.rows, s.d, 7)));
  }
  if (setting.recompute == Recompute::kSelective && !setting.fused_attention) {
    push_core(setting, s, OpKind::kAttentionForward, backward);
    backward.back() = recomputed(backward.back());
  }
  backward.push_back(memory_bound("attention_pre_post", s.tokens, s.heads * (s.qk + s.v), 6));
  push_core(setting, s, OpKind::kAttentionBackward, backward);
  if (setting.context_parallel > 1) {
    backward.push_back(context_gather(setting, "reduce-scatter key and value gradients", 2 * kv_width));
  }
  push_fp8(setting, backward, memory_bound("query_grad_casts", s.tokens, out, 7));
  if (format == Format::kBf16) {
    backward.push_back(memory_bound("query_rope_bwd", s.tokens, s.heads * s.qk + kv_width, 4));
  }
  backward.push_back(gemm("query, key and value projection, input gradient", s.tokens, s.d, out, format));
  push_tensor_exchange(setting, "reduce-scatter the input's gradient", s.d, backward);
  push_tensor_exchange(setting, "all-gather the layer's input again", s.d, backward);
  work.at(Segment::kAttentionWeight)
      .push_back(gemm_wgrad("query, key and value projection", s.tokens, out, s.d, format));
}

}  // namespace

void add_attention(const LayerSetting& setting, LayerWork& work) {
  const Dims s = dims(setting);
  const Format format = setting.format;
  const bool mla = setting.model.attention == model::AttentionKind::kMla;
  const double o_in = s.heads * s.v;
  std::vector<Operator>& forward = work.at(Segment::kAttentionForward);
  std::vector<Operator>& backward = work.at(Segment::kAttentionBackward);
  std::vector<Operator>& weight = work.at(Segment::kAttentionWeight);

  backward.push_back(memory_bound("residual_and_ffn_norm_bwd", s.rows, s.d, 18));
  push_tensor_exchange(setting, "all-gather the attention output's gradient", s.d, backward);
  push_fp8(setting, backward, memory_bound("output_casts_bwd", s.tokens, o_in, 6));
  backward.push_back(gemm("attention output, input gradient", s.tokens, o_in, s.d, format));
  push_fp8(setting, backward, memory_bound("output_transposes", s.tokens, o_in + s.d, 2));
  weight.push_back(gemm_wgrad("attention output", s.tokens, s.d, o_in, format));
  if (mla) {
    add_mla_forward(setting, s, forward);
    add_mla_backward(setting, s, backward);
    add_mla_weight(setting, s, weight);
  } else {
    add_gqa(setting, s, work);
  }
  backward.push_back(memory_bound("attention_norm_bwd", s.rows, s.d, 12));

  push_core(setting, s, OpKind::kAttentionForward, forward);
  push_fp8(setting, forward, memory_bound("output_casts", s.tokens, o_in, 6.5));
  forward.push_back(gemm("attention output", s.tokens, s.d, o_in, format));
  push_tensor_exchange(setting, "reduce-scatter the attention output", s.d, forward);
  forward.push_back(memory_bound("residual_and_ffn_norm", s.rows, s.d, 10));
}

}  // namespace lastbit::sim::workload

#include "sim/workload/ends.h"

namespace lastbit::sim::workload {

EndWork embedding_work(const LayerSetting& setting) {
  const double d = static_cast<double>(setting.model.hidden_size);
  EndWork work;
  work.forward.push_back(memory_bound("embedding lookup", setting.tokens, d, 4));
  work.weight.push_back(
      memory_bound("embedding gradient", setting.tokens, d, 10));  // BF16 in, FP32 row read and written
  return work;
}

EndWork head_work(const LayerSetting& setting) {
  const double tokens = setting.tokens;
  const double d = static_cast<double>(setting.model.hidden_size);
  const double vocab = static_cast<double>(setting.model.vocab_size);
  EndWork work;
  work.forward.push_back(memory_bound("final norm", tokens, d, 4));
  work.forward.push_back(gemm("output head", tokens, vocab, d, Format::kBf16));
  work.forward.push_back(memory_bound("cross-entropy", tokens, vocab, 8));            // FP32 logits, two passes
  work.backward.push_back(memory_bound("cross-entropy backward", tokens, vocab, 6));  // FP32 in, BF16 out
  work.backward.push_back(gemm("output head, input gradient", tokens, d, vocab, Format::kBf16));
  work.backward.push_back(memory_bound("final norm backward", tokens, d, 8));
  work.weight.push_back(gemm_wgrad("output head", tokens, vocab, d, Format::kBf16));
  return work;
}

EndWork mtp_projection_work(const LayerSetting& setting) {
  const double tokens = setting.tokens;
  const double d = static_cast<double>(setting.model.hidden_size);
  EndWork work;
  work.forward.push_back(memory_bound("MTP embedding lookup", tokens, d, 4));
  work.forward.push_back(memory_bound("MTP norms and casts", tokens, 2 * d, 7));
  work.forward.push_back(gemm("MTP projection", tokens, d, 2 * d, setting.format));
  work.backward.push_back(gemm("MTP projection, input gradient", tokens, 2 * d, d, setting.format));
  work.backward.push_back(memory_bound("MTP norms backward", tokens, 2 * d, 12));
  work.weight.push_back(gemm_wgrad("MTP projection", tokens, d, 2 * d, setting.format));
  work.weight.push_back(memory_bound("MTP embedding gradient", tokens, d, 10));
  return work;
}

double training_flops_per_token(const model::ModelConfig& model, double sequence_tokens, bool causal) {
  LayerSetting setting;
  setting.model = model;
  setting.tokens = sequence_tokens;
  setting.sequence_tokens = sequence_tokens;
  setting.routing.experts = static_cast<double>(model.n_routed_experts);
  setting.routing.groups = static_cast<double>(model.n_group);
  setting.routing.kept_groups = static_cast<double>(model.topk_group);
  setting.routing.top_k = static_cast<double>(model.num_experts_per_tok);
  double moe_layers = 0;
  for (std::int64_t layer = 0; layer < model.num_hidden_layers; ++layer)
    moe_layers += model.is_moe_layer(layer) ? 1 : 0;
  const double layers = static_cast<double>(model.num_hidden_layers);
  double flops = (layers - moe_layers) * layer_work(setting, false).model_flops();
  if (moe_layers > 0) flops += moe_layers * layer_work(setting, true).model_flops();
  flops += 6 * sequence_tokens * static_cast<double>(model.hidden_size) * static_cast<double>(model.vocab_size);
  if (!causal) {
    // All pairs instead of (S + 1) / 2 keys a query: forward and backward.
    const LayerWork dense = layer_work(setting, false);
    for (Segment segment : {Segment::kAttentionForward, Segment::kAttentionBackward}) {
      for (const Operator& op : dense.at(segment)) {
        const bool core = op.kind == OpKind::kAttentionForward || op.kind == OpKind::kAttentionBackward;
        if (core) flops += layers * op.model_flops * (2 * sequence_tokens / (sequence_tokens + 1) - 1);
      }
    }
  }
  return flops / sequence_tokens;
}

}  // namespace lastbit::sim::workload

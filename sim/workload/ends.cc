#include "sim/workload/ends.h"

#include "sim/workload/layer_parts.h"

namespace lastbit::sim::workload {

EndWork embedding_work(const LayerSetting& setting) {
  const double d = static_cast<double>(setting.model.hidden_size);
  const double rows = setting.tokens / setting.tensor_parallel;
  EndWork work;
  work.forward.push_back(memory_bound("embedding lookup", rows, d, 4));
  work.weight.push_back(memory_bound("embedding gradient", rows, d, 10));  // BF16 in, FP32 row read and written
  return work;
}

EndWork head_work(const LayerSetting& setting) {
  const double tokens = setting.tokens;
  const double d = static_cast<double>(setting.model.hidden_size);
  const double vocab = static_cast<double>(setting.model.vocab_size) / setting.tensor_parallel;
  EndWork work;
  work.forward.push_back(memory_bound("final norm", tokens / setting.tensor_parallel, d, 4));
  push_tensor_exchange(setting, "all-gather the head's input", d, work.forward);
  work.forward.push_back(gemm("output head", tokens, vocab, d, Format::kBf16));
  work.forward.push_back(memory_bound("cross-entropy", tokens, vocab, 8));            // FP32 logits, two passes
  work.backward.push_back(memory_bound("cross-entropy backward", tokens, vocab, 6));  // FP32 in, BF16 out
  work.backward.push_back(gemm("output head, input gradient", tokens, d, vocab, Format::kBf16));
  push_tensor_exchange(setting, "reduce-scatter the head input's gradient", d, work.backward);
  work.backward.push_back(memory_bound("final norm backward", tokens / setting.tensor_parallel, d, 8));
  work.weight.push_back(gemm_wgrad("output head", tokens, vocab, d, Format::kBf16));
  return work;
}

EndWork mtp_projection_work(const LayerSetting& setting) {
  const double rows = setting.tokens / setting.tensor_parallel;
  const double d = static_cast<double>(setting.model.hidden_size);
  EndWork work;
  work.forward.push_back(memory_bound("MTP embedding lookup", rows, d, 4));
  work.forward.push_back(memory_bound("MTP norms and casts", rows, 2 * d, 7));
  work.forward.push_back(gemm("MTP projection", rows, d, 2 * d, setting.format));
  work.backward.push_back(gemm("MTP projection, input gradient", rows, 2 * d, d, setting.format));
  work.backward.push_back(memory_bound("MTP norms backward", rows, 2 * d, 12));
  work.weight.push_back(gemm_wgrad("MTP projection", rows, d, 2 * d, setting.format));
  work.weight.push_back(memory_bound("MTP embedding gradient", rows, d, 10));
  return work;
}

}  // namespace lastbit::sim::workload

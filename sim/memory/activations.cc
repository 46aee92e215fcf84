#include "sim/memory/activations.h"

#include <algorithm>

#include "model/config.h"

namespace lastbit::sim::memory {
namespace {

using workload::Format;
using workload::LayerSetting;
using workload::Recompute;

constexpr double kBf16 = 2;
constexpr double kFp32 = 4;
constexpr double kE5m6 = 1.5;

double operand_bytes(const LayerSetting& setting) { return setting.format == Format::kFp8 ? 1 + 4.0 / 128 : kBf16; }
double rows(const LayerSetting& setting) { return setting.tokens / setting.tensor_parallel; }
double width(std::int64_t channels) { return static_cast<double>(channels); }

void add_attention(const LayerSetting& setting, std::vector<Part>& parts) {
  const model::ModelConfig& m = setting.model;
  const double d = width(m.hidden_size);
  const double heads = width(m.num_attention_heads) / setting.tensor_parallel;
  const double out = heads * width(m.value_head_dim());
  const bool keep = setting.recompute == Recompute::kNone;
  if (keep) add(parts, "norm outputs", rows(setting) * d * operand_bytes(setting));
  if (m.attention == model::AttentionKind::kMla) {
    add(parts, "latents", rows(setting) * width(m.q_lora_rank + m.kv_lora_rank + m.qk_rope_head_dim) * kBf16);
    if (keep) {
      add(parts, "queries, keys, values", setting.tokens * heads * width(2 * m.qk_head_dim() + m.v_head_dim) * kBf16);
    }
  } else {
    const double kv = 2 * width(m.num_key_value_heads * m.head_dim) / setting.tensor_parallel;
    add(parts, "queries, keys, values", setting.tokens * (heads * width(m.head_dim) + kv) * kBf16);
  }
  const double out_bytes = setting.format == Format::kFp8 ? kE5m6 : kBf16;
  add(parts, "attention outputs", setting.tokens * (out * out_bytes + heads * kFp32));
  if (!setting.fused_attention && keep) {
    // Probabilities, dropout mask and what dropout leaves (arXiv 2205.05198, section 4.1).
    add(parts, "attention scores", setting.tokens * setting.sequence_tokens * heads * 5);
  }
}

void add_gated(const LayerSetting& setting, const std::string& name, double tokens, double channels,
               std::vector<Part>& parts) {
  const double outputs = setting.recompute == Recompute::kNone ? 3 : 2;  // gate, up and what SwiGLU makes of them
  add(parts, name, tokens * outputs * channels * operand_bytes(setting));
}

}  // namespace

double total(const std::vector<Part>& parts) {
  double sum = 0;
  for (const Part& part : parts) sum += part.bytes;
  return sum;
}

void add(std::vector<Part>& parts, const std::string& name, double bytes) {
  const auto found = std::find_if(parts.begin(), parts.end(), [&name](const Part& part) { return part.name == name; });
  if (found != parts.end()) {
    found->bytes += bytes;
  } else {
    parts.push_back({name, bytes});
  }
}

std::vector<Part> layer_activations(const LayerSetting& setting, bool moe) {
  const model::ModelConfig& m = setting.model;
  const double d = width(m.hidden_size);
  std::vector<Part> parts;
  if (setting.recompute == Recompute::kFull) {
    add(parts, "residuals", rows(setting) * d * kBf16);
    return parts;
  }
  add(parts, "residuals", 2 * rows(setting) * d * kBf16);
  add_attention(setting, parts);
  if (setting.recompute == Recompute::kNone) {
    add(parts, "norm outputs", rows(setting) * d * operand_bytes(setting));
  }
  if (!moe) {
    add_gated(setting, "FFN", setting.tokens, width(m.intermediate_size) / setting.tensor_parallel, parts);
    return parts;
  }
  const double routed = rows(setting) * setting.routing.top_k * setting.load_factor;
  add(parts, "router", rows(setting) * setting.routing.experts * kFp32);
  add(parts, "experts' inputs", routed * d * operand_bytes(setting));
  add_gated(setting, "experts", routed, width(m.moe_intermediate_size), parts);
  if (m.n_shared_experts > 0) {
    add_gated(setting, "shared experts", setting.tokens,
              width(m.n_shared_experts * m.moe_intermediate_size) / setting.tensor_parallel, parts);
  }
  return parts;
}

std::vector<Part> mtp_projection_activations(const LayerSetting& setting) {
  return {{"MTP inputs", rows(setting) * 2 * width(setting.model.hidden_size) * operand_bytes(setting)}};
}

std::vector<Part> head_activations(const LayerSetting& setting) {
  return {{"head inputs", rows(setting) * width(setting.model.hidden_size) * kBf16}};
}

double logits_bytes(const LayerSetting& setting) {
  return setting.tokens * width(setting.model.vocab_size) / setting.tensor_parallel * (kBf16 + kFp32);
}

double expert_buffer_bytes(const LayerSetting& setting) {
  if (setting.routing.expert_ranks <= 1) return 0;
  const double copies = setting.routing.top_k * setting.load_factor;
  const double sent = rows(setting) * copies * width(setting.model.hidden_size);
  return 2 * sent * (setting.dispatch_bytes + setting.combine_bytes);
}

}  // namespace lastbit::sim::memory

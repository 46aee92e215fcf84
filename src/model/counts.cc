#include "model/counts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "ops/cost.h"

namespace lastbit::model {
namespace {

std::int64_t moe_layers(const ModelConfig& config) {
  std::int64_t count = 0;
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) count += config.is_moe_layer(layer) ? 1 : 0;
  return count;
}

// Weights of the projections of one attention layer, without norms and biases.
std::int64_t attention_matrices(const ModelConfig& c) {
  const std::int64_t d = c.hidden_size;
  const std::int64_t heads = c.num_attention_heads;
  if (c.attention == AttentionKind::kGqa) return 2 * d * c.head_dim * (heads + c.num_key_value_heads);
  const std::int64_t q_width = heads * c.qk_head_dim();
  const std::int64_t q = c.q_lora_rank > 0 ? c.q_lora_rank * (d + q_width) : d * q_width;
  const std::int64_t kv_a = d * (c.kv_lora_rank + c.qk_rope_head_dim);
  const std::int64_t kv_b = c.kv_lora_rank * heads * (c.qk_nope_head_dim + c.v_head_dim);
  return q + kv_a + kv_b + heads * c.v_head_dim * d;
}

std::int64_t attention_vectors(const ModelConfig& c) {
  if (c.attention == AttentionKind::kMla) {
    const std::int64_t biases =
        c.attention_bias ? c.q_lora_rank + c.kv_lora_rank + c.qk_rope_head_dim + c.hidden_size : 0;
    return c.q_lora_rank + c.kv_lora_rank + biases;  // the latents' norms
  }
  const std::int64_t qkv = c.head_dim * (c.num_attention_heads + 2 * c.num_key_value_heads);
  return (c.qkv_bias || c.attention_bias ? qkv : 0) + (c.attention_bias ? c.hidden_size : 0);
}

std::int64_t ffn(const ModelConfig& c, std::int64_t width) { return 3 * c.hidden_size * width; }  // gate, up, down

std::int64_t router(const ModelConfig& c) {
  const std::int64_t bias = c.topk_method == TopkMethod::kNoauxTc ? c.n_routed_experts : 0;
  return c.router_width() * c.hidden_size + bias;
}

void count_mtp(const ModelConfig& c, ParameterCounts& counts) {
  if (c.num_nextn_predict_layers == 0) return;
  const std::int64_t d = c.hidden_size;
  const bool moe = c.is_moe_layer(c.num_hidden_layers);
  // eh_proj; enorm, hnorm and the head's norm; then one block with its two norms.
  const std::int64_t common = 2 * d * d + 3 * d + 2 * d + attention_matrices(c) + attention_vectors(c);
  const std::int64_t shared = moe ? ffn(c, c.n_shared_experts * c.moe_intermediate_size) + router(c) : 0;
  const std::int64_t expert = moe ? ffn(c, c.moe_intermediate_size) : 0;
  const std::int64_t dense = moe ? 0 : ffn(c, c.intermediate_size);
  const std::int64_t modules = c.num_nextn_predict_layers;
  counts.mtp_unique = modules * (common + shared + dense + c.n_routed_experts * expert);
  counts.mtp_active_unique = modules * (common + shared + dense + c.num_experts_per_tok * expert);
  counts.mtp_stored = counts.mtp_unique + modules * 2 * c.vocab_size * d;
}

double product_flops(double n, double k) { return ops::matmul_cost(1, n, k, 0, 0, 0).flops; }

}  // namespace

std::int64_t ParameterCounts::total() const {
  return embedding + attention + dense_ffn + routed_experts + shared_experts + routers + norms + head + medusa;
}

std::int64_t ParameterCounts::active() const { return total() - routed_experts + active_routed_experts; }

std::int64_t ParameterCounts::active_without_embedding() const { return active() - embedding; }

ParameterCounts count_parameters(const ModelConfig& c) {
  const std::int64_t moe = moe_layers(c);
  const std::int64_t dense = c.num_hidden_layers - moe;
  const std::int64_t expert = ffn(c, c.moe_intermediate_size);
  ParameterCounts counts;
  counts.head = c.vocab_size * c.hidden_size;
  counts.embedding = c.tie_word_embeddings ? 0 : c.vocab_size * c.hidden_size;
  counts.attention = c.num_hidden_layers * (attention_matrices(c) + attention_vectors(c));
  counts.dense_ffn = dense * ffn(c, c.intermediate_size);
  counts.routed_experts = moe * c.n_routed_experts * expert;
  counts.active_routed_experts = moe * c.num_experts_per_tok * expert;
  counts.shared_experts = moe * c.n_shared_experts * expert;
  counts.routers = moe == 0 ? 0 : moe * router(c);
  counts.norms = (2 * c.num_hidden_layers + 1) * c.hidden_size;
  counts.medusa = c.medusa_heads * c.hidden_size * (c.hidden_size + (c.medusa_own_heads ? c.vocab_size : 0));
  count_mtp(c, counts);
  return counts;
}

double TokenFlops::forward() const {
  return attention_projections + attention_core + dense_ffn + routed_experts + shared_experts + routers + head;
}

TokenFlops count_flops(const ModelConfig& c, std::int64_t sequence_tokens, bool causal) {
  core::check(sequence_tokens > 0, "a sequence has at least one token");
  const auto tokens = static_cast<double>(sequence_tokens);
  const auto layers = static_cast<double>(c.num_hidden_layers);
  const auto moe = static_cast<double>(moe_layers(c));
  const auto d = static_cast<double>(c.hidden_size);
  const double expert = 3 * product_flops(d, static_cast<double>(c.moe_intermediate_size));
  TokenFlops flops;
  flops.attention_projections = layers * 2 * static_cast<double>(attention_matrices(c));
  flops.attention_core =
      layers / tokens *
      ops::attention_core_cost(tokens, static_cast<double>(c.num_attention_heads), static_cast<double>(c.qk_head_dim()),
                               static_cast<double>(c.value_head_dim()), causal, 0)
          .flops;
  flops.dense_ffn = (layers - moe) * 3 * product_flops(d, static_cast<double>(c.intermediate_size));
  flops.routed_experts = moe * static_cast<double>(c.num_experts_per_tok) * expert;
  flops.shared_experts = moe * static_cast<double>(c.n_shared_experts) * expert;
  flops.routers = moe * product_flops(d, static_cast<double>(c.router_width()));
  flops.head = product_flops(d, static_cast<double>(c.vocab_size));
  return flops;
}

double ffn_multiple(const ModelConfig& c) {
  const std::int64_t width = c.n_routed_experts > 0
                                 ? (c.n_shared_experts + c.num_experts_per_tok) * c.moe_intermediate_size
                                 : c.intermediate_size;
  return 3.0 * static_cast<double>(width) / (8.0 * static_cast<double>(c.hidden_size));
}

double paper_training_flops(const ModelConfig& c, std::int64_t sequence_tokens) {
  return paper_training_flops(c, sequence_tokens, std::round(ffn_multiple(c)));
}

double paper_training_flops(const ModelConfig& c, std::int64_t sequence_tokens, double x) {
  const auto tokens = static_cast<double>(sequence_tokens);
  const auto layers = static_cast<double>(c.num_hidden_layers);
  const auto d = static_cast<double>(c.hidden_size);
  return tokens *
         ((24 + 48 * x) * layers * d * d + 12 * layers * d * tokens + 6 * static_cast<double>(c.vocab_size) * d);
}

double cache_bytes_per_token(const ModelConfig& c, double element_bytes) {
  const std::int64_t values =
      c.attention == AttentionKind::kMla ? c.kv_lora_rank + c.qk_rope_head_dim : 2 * c.num_key_value_heads * c.head_dim;
  return static_cast<double>(c.num_hidden_layers * values) * element_bytes;
}

std::optional<std::uint64_t> expert_combinations(std::int64_t n, std::int64_t k) {
  core::check(n >= 0 && k >= 0 && k <= n, "0 <= k <= n");
  std::uint64_t value = 1;
  for (std::int64_t i = 1; i <= std::min(k, n - k); ++i) {
    // value (n - k' + i) / i, with the divisor taken out first so that nothing overflows before the result does.
    auto factor = static_cast<std::uint64_t>(n - std::min(k, n - k) + i);
    auto divisor = static_cast<std::uint64_t>(i);
    const std::uint64_t common = std::gcd(value, divisor);
    value /= common;
    divisor /= common;
    factor /= divisor;
    std::uint64_t product = 0;
    if (__builtin_mul_overflow(value, factor, &product)) return std::nullopt;
    value = product;
  }
  return value;
}

}  // namespace lastbit::model

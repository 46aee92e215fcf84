// What a model holds and costs, counted from its configuration: parameters, FLOPs a token, cache bytes a token.
#pragma once

#include <cstdint>
#include <optional>

#include "model/config.h"

namespace lastbit::model {

// Parameters of the main model by component; the MTP modules are counted apart. Norm weights and biases included.
struct ParameterCounts {
  std::int64_t embedding = 0;  // of the input; 0 if tied to the head, which then counts it
  std::int64_t attention = 0;  // projections, their latent norms and biases
  std::int64_t dense_ffn = 0;
  std::int64_t routed_experts = 0;
  std::int64_t active_routed_experts = 0;  // those that one token runs through
  std::int64_t shared_experts = 0;
  std::int64_t routers = 0;  // weights and, for V3, the balancing biases
  std::int64_t norms = 0;    // two a layer and the final one
  std::int64_t head = 0;
  std::int64_t medusa = 0;             // parallel heads, with the output matrices that are their own
  std::int64_t mtp_unique = 0;         // what the MTP modules add of their own
  std::int64_t mtp_active_unique = 0;  // of which one token runs through
  std::int64_t mtp_stored = 0;         // as released: with their copies of embedding and head

  [[nodiscard]] std::int64_t total() const;                     // of the main model
  [[nodiscard]] std::int64_t active() const;                    // what one token uses, input embedding included
  [[nodiscard]] std::int64_t active_without_embedding() const;  // the other published reading
};

[[nodiscard]] ParameterCounts count_parameters(const ModelConfig& config);

// Forward FLOPs of one token by component (a multiply-add counts two); training is three times as much.
struct TokenFlops {
  double attention_projections = 0;
  double attention_core = 0;  // scores and values, MLA in its expanded (naive) form
  double dense_ffn = 0;
  double routed_experts = 0;
  double shared_experts = 0;
  double routers = 0;
  double head = 0;

  [[nodiscard]] double forward() const;
  [[nodiscard]] double training() const { return 3 * forward(); }
};

// Counted from the matrix products and the attention core of the main model, averaged over a sequence of
// `sequence_tokens`; causal: token t meets t keys, so (sequence_tokens + 1) / 2 on average; otherwise all of them.
// Norms, activations and the embedding's look-up are not counted.
[[nodiscard]] TokenFlops count_flops(const ModelConfig& config, std::int64_t sequence_tokens, bool causal);

// FFN width that a token passes through, over the 8/3 d of a plain SwiGLU layer: 2.0625 for DeepSeekMoE 16B.
[[nodiscard]] double ffn_multiple(const ModelConfig& config);

// The training FLOPs of one sequence of T tokens by the formula behind the DeepSeekMoE paper's figures (arXiv
// 2401.06066), T [(24 + 48 x) L d^2 + 12 L d T + 6 V d]: non-causal, attention as if MHA. x is the nominal
// ffn_multiple: 1 for dense models, 2 for DeepSeekMoE 16B; the two-argument form rounds it to the nearest integer.
[[nodiscard]] double paper_training_flops(const ModelConfig& config, std::int64_t sequence_tokens);
[[nodiscard]] double paper_training_flops(const ModelConfig& config, std::int64_t sequence_tokens, double x);

// Bytes that one token adds to the cache: (kv_lora_rank + qk_rope_head_dim) values a layer for MLA, a key and a value
// per KV head otherwise. element_bytes: 2 for BF16.
[[nodiscard]] double cache_bytes_per_token(const ModelConfig& config, double element_bytes);

// n choose k: how many sets of k experts a token may use; nothing when 64 bits do not hold it.
[[nodiscard]] std::optional<std::uint64_t> expert_combinations(std::int64_t n, std::int64_t k);

}  // namespace lastbit::model

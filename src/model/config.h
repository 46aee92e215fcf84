// The description of a model that both halves of Lastbit share. Names are those of Hugging Face's config.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lastbit::model {

enum class AttentionKind { kMla, kGqa };  // kGqa covers MHA (as many KV heads as heads) and MQA (one)

enum class RouterKind { kV3, kV2, kDeepSeekMoE, kGShard, kSwitch };

// rope_scaling of type "yarn" (arXiv 2309.00071).
struct YarnConfig {
  double factor = 1;
  std::int64_t original_max_position_embeddings = 4096;
  double beta_fast = 32;
  double beta_slow = 1;
  double mscale = 1;
  double mscale_all_dim = 0;
};

struct ModelConfig {
  std::string model_type;
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;  // of the dense layers' FFN
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  std::optional<YarnConfig> rope_scaling;
  bool attention_bias = false;
  bool tie_word_embeddings = false;
  double initializer_range = 0.006;

  AttentionKind attention = AttentionKind::kMla;
  std::int64_t head_dim = 0;     // kGqa
  std::int64_t q_lora_rank = 0;  // kMla; 0: no q-LoRA
  std::int64_t kv_lora_rank = 0;
  std::int64_t qk_nope_head_dim = 0;
  std::int64_t qk_rope_head_dim = 0;
  std::int64_t v_head_dim = 0;
  bool rope_interleave = true;

  std::int64_t n_routed_experts = 0;  // 0: a dense model
  std::int64_t n_shared_experts = 0;
  std::int64_t num_experts_per_tok = 0;
  std::int64_t moe_intermediate_size = 0;
  std::int64_t first_k_dense_replace = 0;
  std::int64_t moe_layer_freq = 1;
  std::int64_t n_group = 1;
  std::int64_t topk_group = 1;
  RouterKind router = RouterKind::kV3;
  bool norm_topk_prob = true;
  double routed_scaling_factor = 1;

  std::int64_t num_nextn_predict_layers = 0;  // MTP modules

  [[nodiscard]] bool is_moe_layer(std::int64_t layer) const {
    return n_routed_experts > 0 && layer >= first_k_dense_replace && layer % moe_layer_freq == 0;
  }
};

}  // namespace lastbit::model

// A model of DeepSeek-V3's architecture that runs in no time.
#pragma once

#include <nlohmann/json.hpp>

namespace lastbit {

inline nlohmann::json small_config() {
  return {{"model_type", "deepseek_v3"},
          {"vocab_size", 32},
          {"hidden_size", 16},
          {"intermediate_size", 24},
          {"num_hidden_layers", 2},
          {"num_nextn_predict_layers", 1},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 2},
          {"q_lora_rank", 8},
          {"kv_lora_rank", 8},
          {"qk_nope_head_dim", 4},
          {"qk_rope_head_dim", 4},
          {"v_head_dim", 4},
          {"n_routed_experts", 4},
          {"n_shared_experts", 1},
          {"num_experts_per_tok", 2},
          {"moe_intermediate_size", 8},
          {"first_k_dense_replace", 1},
          {"n_group", 2},
          {"topk_group", 1},
          {"max_position_embeddings", 64}};
}

}  // namespace lastbit

// The description of a model that both halves of Lastbit share. Names are those of Hugging Face's config.json.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace lastbit::model {

enum class AttentionKind { kMla, kGqa };  // kGqa covers MHA (as many KV heads as heads) and MQA (one)

enum class RouterKind { kV3, kV2, kDeepSeekMoE, kGShard, kSwitch, kHash, kTopP };

enum class ScoringFunc { kSigmoid, kSoftmax };

// How the chosen experts are restricted to groups (nodes, devices) before the top-K.
enum class TopkMethod {
  kGreedy,              // not at all
  kGroupLimitedGreedy,  // topk_group groups with the largest maximum (V2)
  kNoauxTc,             // topk_group groups with the largest sum of their two best biased affinities (V3)
};

// How much of a group counts when groups are compared by sums.
enum class GroupSum {
  kTopTwo,    // its two best, as DeepSeek-V3 was released
  kTopShare,  // its num_experts_per_tok / topk_group best, as published (arXiv 2412.19437, section 2.1.2)
};

// What a router can do beyond Hugging Face's keys: all off. Nothing is dropped while decoding with a cache.
struct RouterOptions {
  double capacity_factor = 0;         // an expert takes this times its even share of the tokens; 0: as many as come
  bool random_second = false;         // GShard
  double jitter = 0;                  // Switch, while training: the router reads x times 1 +- this
  double top_p = 1;                   // top-p
  std::int64_t hash_seed = 0;         // hash: which function of the token id
  std::int64_t devices = 1;           // that the experts lie on, in order
  double device_capacity_factor = 0;  // 0: nothing is dropped
  double protected_share = 0.1;       // of sequences that are never dropped
  GroupSum group_sum = GroupSum::kTopTwo;
  bool masked_at_zero = false;  // V3: experts of other groups compete with an affinity of 0, not at all without
  bool shared_logits = false;   // the shared experts take part in the softmax (DeepSeekMoE's illustrations)
};

// Auxiliary losses of the MoE layers beside aux_loss_alpha: all off.
struct BalanceOptions {
  bool count_routed = true;  // f counts the choice made, else the top-K of the unbiased affinities
  double device_alpha = 0;
  double communication_alpha = 0;
  double gshard_alpha = 0;
  double switch_alpha = 0;
  double z_coefficient = 0;
};

// When the softmax scale is multiplied by YaRN's m(mscale_all_dim)^2.
enum class YarnMscale {
  kAlways,          // transformers
  kBeyondOriginal,  // DeepSeek's inference code: when max_position_embeddings exceeds the original length
};

// rope_scaling of type "yarn" (arXiv 2309.00071).
struct YarnConfig {
  double factor = 1;
  std::int64_t original_max_position_embeddings = 4096;
  double beta_fast = 32;
  double beta_slow = 1;
  double mscale = 1;
  double mscale_all_dim = 0;
  YarnMscale apply_mscale = YarnMscale::kAlways;
};

// rope_scaling of type "llama3" (arXiv 2407.21783; transformers, modeling_rope_utils).
struct Llama3RopeConfig {
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  std::int64_t original_max_position_embeddings = 8192;
};

// Weights stored in FP8 E4M3 with one FP32 scale a block (quantization_config of method "fp8").
struct Fp8Config {
  std::array<std::int64_t, 2> weight_block_size{128, 128};  // rows (outputs), columns (inputs)
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
  double latent_norm_eps = 1e-6;  // of MLA's two latent norms: the release fixes it, whatever rms_norm_eps says
  double rope_theta = 10000;
  std::optional<YarnConfig> rope_scaling;
  std::optional<Llama3RopeConfig> rope_llama3;
  bool attention_bias = false;  // biases of q, k, v and o; of q, k and v only in qwen2 (qkv_bias)
  bool qkv_bias = false;
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;

  AttentionKind attention = AttentionKind::kMla;
  std::int64_t head_dim = 0;         // kGqa
  double partial_rotary_factor = 1;  // kGqa: the share of a head that is rotated
  std::int64_t q_lora_rank = 0;      // kMla; 0: no q-LoRA
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
  ScoringFunc scoring_func = ScoringFunc::kSigmoid;
  TopkMethod topk_method = TopkMethod::kNoauxTc;
  bool norm_topk_prob = true;
  double routed_scaling_factor = 1;

  double aux_loss_alpha = 0;  // of the sequence- or batch-wise balance loss
  bool seq_aux = true;
  RouterOptions router_options;
  BalanceOptions balance;

  std::int64_t num_nextn_predict_layers = 0;  // MTP modules
  std::int64_t medusa_heads = 0;              // parallel heads (arXiv 2401.10774), to compare with
  bool medusa_own_heads = false;              // each with an output matrix of its own, else the model's

  std::optional<Fp8Config> quantization_config;

  [[nodiscard]] bool is_moe_layer(std::int64_t layer) const {
    return n_routed_experts > 0 && layer >= first_k_dense_replace && layer % moe_layer_freq == 0;
  }
  // Columns of router logits: experts that are scored. None where a hash chooses.
  [[nodiscard]] std::int64_t router_width() const {
    if (router == RouterKind::kHash) return 0;
    return n_routed_experts + (router_options.shared_logits ? n_shared_experts : 0);
  }
  [[nodiscard]] std::int64_t qk_head_dim() const {  // of queries and keys as they meet in the attention scores
    return attention == AttentionKind::kMla ? qk_nope_head_dim + qk_rope_head_dim : head_dim;
  }
  // Elements of each head's query and key that are rotated; 0: no positions (NoPE).
  [[nodiscard]] std::int64_t rotary_dim() const {
    if (attention == AttentionKind::kMla) return qk_rope_head_dim;
    return static_cast<std::int64_t>(partial_rotary_factor * static_cast<double>(head_dim));
  }
  [[nodiscard]] std::int64_t value_head_dim() const { return attention == AttentionKind::kMla ? v_head_dim : head_dim; }
};

}  // namespace lastbit::model

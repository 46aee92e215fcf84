#include "model/weight_specs.h"

#include <fmt/format.h>

#include <utility>

namespace lastbit::model {
namespace {

// Collects the tensors of one layer; roles are names below "model.layers.N.".
class LayerSpecs {
 public:
  LayerSpecs(std::vector<WeightSpec>& specs, std::int64_t layer) : specs_(specs), layer_(layer) {}

  void matrix(const std::string& role, std::int64_t rows, std::int64_t columns) {
    add(role, {rows, columns}, WeightKind::kMatrix);
  }
  void norm(const std::string& role, std::int64_t size) { add(role, {size}, WeightKind::kNorm); }
  void bias(const std::string& role, std::int64_t size) { add(role, {size}, WeightKind::kBias); }
  void copy(const std::string& role, tensor::Shape shape, const std::string& original) {
    add(role, std::move(shape), WeightKind::kMatrix);
    specs_.back().copy_of = original;
  }
  void ffn(const std::string& role, std::int64_t d, std::int64_t width) {
    matrix(role + ".gate_proj.weight", width, d);
    matrix(role + ".up_proj.weight", width, d);
    matrix(role + ".down_proj.weight", d, width);
  }
  void expert(std::int64_t expert, std::int64_t d, std::int64_t width) {
    const std::size_t first = specs_.size();
    ffn("mlp.experts", d, width);
    for (std::size_t i = first; i < specs_.size(); ++i) {
      WeightSpec& spec = specs_[i];
      spec.expert = expert;
      spec.name = fmt::format("{}mlp.experts.{}{}", layer_prefix(layer_), expert,
                              spec.role.substr(std::string("mlp.experts").size()));
    }
  }

 private:
  void add(const std::string& role, tensor::Shape shape, WeightKind kind) {
    specs_.push_back({layer_prefix(layer_) + role, std::move(shape), kind, role, layer_, -1, ""});
  }

  std::vector<WeightSpec>& specs_;
  std::int64_t layer_;
};

void add_mla(const ModelConfig& c, LayerSpecs& layer) {
  const std::int64_t heads = c.num_attention_heads;
  const std::int64_t q_width = heads * c.qk_head_dim();
  if (c.q_lora_rank > 0) {
    layer.matrix("self_attn.q_a_proj.weight", c.q_lora_rank, c.hidden_size);
    if (c.attention_bias) layer.bias("self_attn.q_a_proj.bias", c.q_lora_rank);
    layer.norm("self_attn.q_a_layernorm.weight", c.q_lora_rank);
    layer.matrix("self_attn.q_b_proj.weight", q_width, c.q_lora_rank);
  } else {
    layer.matrix("self_attn.q_proj.weight", q_width, c.hidden_size);
  }
  const std::int64_t kv_a_width = c.kv_lora_rank + c.qk_rope_head_dim;
  layer.matrix("self_attn.kv_a_proj_with_mqa.weight", kv_a_width, c.hidden_size);
  if (c.attention_bias) layer.bias("self_attn.kv_a_proj_with_mqa.bias", kv_a_width);
  layer.norm("self_attn.kv_a_layernorm.weight", c.kv_lora_rank);
  layer.matrix("self_attn.kv_b_proj.weight", heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank);
  layer.matrix("self_attn.o_proj.weight", c.hidden_size, heads * c.v_head_dim);
  if (c.attention_bias) layer.bias("self_attn.o_proj.bias", c.hidden_size);
}

void add_gqa(const ModelConfig& c, LayerSpecs& layer) {
  const std::int64_t q_width = c.num_attention_heads * c.head_dim;
  const std::int64_t kv_width = c.num_key_value_heads * c.head_dim;
  const bool qkv_bias = c.qkv_bias || c.attention_bias;
  for (const char* name : {"q", "k", "v"}) {
    const std::int64_t width = *name == 'q' ? q_width : kv_width;
    layer.matrix(fmt::format("self_attn.{}_proj.weight", name), width, c.hidden_size);
    if (qkv_bias) layer.bias(fmt::format("self_attn.{}_proj.bias", name), width);
  }
  layer.matrix("self_attn.o_proj.weight", c.hidden_size, q_width);
  if (c.attention_bias) layer.bias("self_attn.o_proj.bias", c.hidden_size);
}

void add_block(const ModelConfig& c, std::int64_t index, LayerSpecs& layer) {
  layer.norm("input_layernorm.weight", c.hidden_size);
  if (c.attention == AttentionKind::kMla) {
    add_mla(c, layer);
  } else {
    add_gqa(c, layer);
  }
  layer.norm("post_attention_layernorm.weight", c.hidden_size);
  if (!c.is_moe_layer(index)) {
    layer.ffn("mlp", c.hidden_size, c.intermediate_size);
    return;
  }
  if (c.router_width() > 0) layer.matrix("mlp.gate.weight", c.router_width(), c.hidden_size);
  if (c.topk_method == TopkMethod::kNoauxTc) layer.bias("mlp.gate.e_score_correction_bias", c.n_routed_experts);
  for (std::int64_t expert = 0; expert < c.n_routed_experts; ++expert)
    layer.expert(expert, c.hidden_size, c.moe_intermediate_size);
  if (c.n_shared_experts > 0)
    layer.ffn("mlp.shared_experts", c.hidden_size, c.n_shared_experts * c.moe_intermediate_size);
}

}  // namespace

std::string layer_prefix(std::int64_t layer) { return fmt::format("model.layers.{}.", layer); }

std::vector<WeightSpec> main_weights(const ModelConfig& c) {
  std::vector<WeightSpec> specs;
  const auto outside = [&](const std::string& name, tensor::Shape shape, WeightKind kind) {
    specs.push_back({name, std::move(shape), kind, name, -1, -1, ""});
  };
  outside("model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, WeightKind::kMatrix);
  for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) {
    LayerSpecs layer(specs, i);
    add_block(c, i, layer);
  }
  outside("model.norm.weight", {c.hidden_size}, WeightKind::kNorm);
  if (!c.tie_word_embeddings) outside("lm_head.weight", {c.vocab_size, c.hidden_size}, WeightKind::kMatrix);
  for (std::int64_t head = 0; head < c.medusa_heads; ++head) {
    outside(fmt::format("medusa.{}.proj.weight", head), {c.hidden_size, c.hidden_size}, WeightKind::kMatrix);
    if (c.medusa_own_heads)
      outside(fmt::format("medusa.{}.head.weight", head), {c.vocab_size, c.hidden_size}, WeightKind::kMatrix);
  }
  return specs;
}

std::vector<WeightSpec> mtp_weights(const ModelConfig& c) {
  std::vector<WeightSpec> specs;
  const std::string embedding = "model.embed_tokens.weight";
  const std::string head = c.tie_word_embeddings ? embedding : "lm_head.weight";
  for (std::int64_t k = 0; k < c.num_nextn_predict_layers; ++k) {
    LayerSpecs layer(specs, c.num_hidden_layers + k);
    layer.copy("embed_tokens.weight", {c.vocab_size, c.hidden_size}, embedding);
    layer.norm("enorm.weight", c.hidden_size);
    layer.norm("hnorm.weight", c.hidden_size);
    layer.matrix("eh_proj.weight", c.hidden_size, 2 * c.hidden_size);
    add_block(c, c.num_hidden_layers + k, layer);
    layer.norm("shared_head.norm.weight", c.hidden_size);
    layer.copy("shared_head.head.weight", {c.vocab_size, c.hidden_size}, head);
  }
  return specs;
}

}  // namespace lastbit::model

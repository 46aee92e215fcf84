#include "kernels/device/attention_layer.h"

#include "kernels/device/narrow.h"
#include "kernels/plain/layers.h"
#include "model/attention.h"
#include "model/weight_specs.h"

namespace lastbit::device {
namespace {

using kernels::RotaryPart;

kernels::RopeLayout rope_layout(const model::ModelConfig& config) {
  if (config.model_type == "deepseek_v2") return kernels::RopeLayout::kInterleaved;
  return config.rope_interleave ? kernels::RopeLayout::kInterleavedToHalves : kernels::RopeLayout::kHalfSplit;
}

}  // namespace

AttentionLayer::AttentionLayer(std::int64_t layer, const Pass& pass)
    : layer_(layer),
      pass_(pass),
      config_(pass.config),
      prefix_(model::layer_prefix(layer) + "self_attn."),
      rows_(pass.place.rows()),
      keys_(pass.cache == nullptr ? rows_ : pass.cache->tokens + rows_) {}

kernels::TurnShape AttentionLayer::turn_shape(std::int64_t heads) const {
  return {narrow(rows_), narrow(heads), narrow(config_.qk_rope_head_dim)};
}

kernels::LatentHeads AttentionLayer::heads() const {
  const std::int64_t batch = pass_.place.batch;
  return {q_.values(),
          q_rope_.values(),
          expanded_.values(),
          k_rope_.values(),
          narrow(batch),
          narrow(rows_ / batch),
          narrow(keys_ / batch),
          narrow(config_.num_attention_heads),
          narrow(config_.qk_nope_head_dim),
          narrow(config_.qk_rope_head_dim),
          narrow(config_.v_head_dim),
          static_cast<float>(model::softmax_scale(config_))};
}

void AttentionLayer::make_queries(const Array& x) {
  const std::int64_t heads = config_.num_attention_heads;
  const std::int64_t width = config_.qk_head_dim();
  const std::int64_t rope = config_.qk_rope_head_dim;
  q_ = pass_.room(prefix_ + "q", rows_, heads * width);
  if (config_.q_lora_rank > 0) {
    q_compressed_ = pass_.room(prefix_ + "q_a", rows_, config_.q_lora_rank);
    q_latent_ = pass_.room(prefix_ + "q_a_layernorm", rows_, config_.q_lora_rank);
    linear(pass_, x, rows_, prefix_ + "q_a_proj.weight", q_compressed_);
    norm(pass_, q_compressed_, rows_, config_.q_lora_rank, prefix_ + "q_a_layernorm.weight", config_.latent_norm_eps,
         q_latent_, config_.q_lora_rank);
    linear(pass_, q_latent_, rows_, prefix_ + "q_b_proj.weight", q_);
  } else {
    linear(pass_, x, rows_, prefix_ + "q_proj.weight", q_);
  }
  q_rope_ = pass_.room(prefix_ + "q, turned", rows_, heads * rope);
  const RotaryPart from{q_.values(), heads * width, width, config_.qk_nope_head_dim};
  const RotaryPart to{q_rope_.values(), heads * rope, rope, 0};
  pass_.runtime.run([&] {
    kernels::turn_heads(from, to, pass_.place.cosines.f32(), pass_.place.sines.f32(), turn_shape(heads),
                        rope_layout(config_), false);
  });
}

void AttentionLayer::make_keys(const Array& x) {
  const std::int64_t rank = config_.kv_lora_rank;
  const std::int64_t rope = config_.qk_rope_head_dim;
  compressed_ = pass_.room(prefix_ + "kv_a", rows_, rank + rope);
  latent_ = pass_.room(prefix_ + "kv_a_layernorm", rows_, rank);
  k_rope_ = pass_.room(prefix_ + "k, turned", rows_, rope);
  linear(pass_, x, rows_, prefix_ + "kv_a_proj_with_mqa.weight", compressed_);
  norm(pass_, compressed_, rows_, rank + rope, prefix_ + "kv_a_layernorm.weight", config_.latent_norm_eps, latent_,
       rank);
  const RotaryPart from{compressed_.values(), rank + rope, rope, rank};
  const RotaryPart to{k_rope_.values(), rope, rope, 0};
  pass_.runtime.run([&] {
    kernels::turn_heads(from, to, pass_.place.cosines.f32(), pass_.place.sines.f32(), turn_shape(1),
                        rope_layout(config_), false);
  });
  if (pass_.cache != nullptr) append_to_cache();
  expanded_ = pass_.room(prefix_ + "kv_b", keys_,
                         config_.num_attention_heads * (config_.qk_nope_head_dim + config_.v_head_dim));
  linear(pass_, latent_, keys_, prefix_ + "kv_b_proj.weight", expanded_);
}

// From here on the keys are those of all tokens so far.
void AttentionLayer::append_to_cache() {
  const LatentCache& cache = *pass_.cache;
  const auto append = [&](const Array& all, Array& own, std::int64_t width) {
    const std::int64_t first = layer_ * cache.capacity * width;
    const Array end = all.part(first + cache.tokens * width, rows_ * width);
    pass_.runtime.run(
        [&] { kernels::copy_values(own.values(), end.values(), static_cast<std::size_t>(rows_ * width)); });
    own = all.part(first, keys_ * width);
  };
  append(cache.latents, latent_, config_.kv_lora_rank);
  append(cache.rope_keys, k_rope_, config_.qk_rope_head_dim);
}

void AttentionLayer::forward(const Array& x, const Array& y) {
  const std::int64_t heads_count = config_.num_attention_heads;
  make_queries(x);
  make_keys(x);
  out_ = pass_.room(prefix_ + "heads", rows_, heads_count * config_.v_head_dim);
  log_sum_exp_ = pass_.runtime.allocate(prefix_ + "log_sum_exp", Element::kF32, rows_ * heads_count);
  pass_.runtime.run([&] { kernels::latent_attention(heads(), out_.values(), log_sum_exp_.f32()); });
  linear(pass_, out_, rows_, prefix_ + "o_proj.weight", y);
}

void AttentionLayer::backward_queries(const Array& dq, const Array& dq_rope, const Array& x, const Array& dx) {
  const std::int64_t heads_count = config_.num_attention_heads;
  const std::int64_t width = config_.qk_head_dim();
  const std::int64_t rope = config_.qk_rope_head_dim;
  const RotaryPart from{dq_rope.values(), heads_count * rope, rope, 0};
  const RotaryPart to{dq.values(), heads_count * width, width, config_.qk_nope_head_dim};
  pass_.runtime.run([&] {
    kernels::turn_heads(from, to, pass_.place.cosines.f32(), pass_.place.sines.f32(), turn_shape(heads_count),
                        rope_layout(config_), true);
  });
  if (config_.q_lora_rank == 0) {
    linear_gradient(pass_, dq, x, rows_, prefix_ + "q_proj.weight", dx);
    return;
  }
  const Array dlatent = pass_.room("dq latent", rows_, config_.q_lora_rank);
  const Array dcompressed = pass_.room("dq compressed", rows_, config_.q_lora_rank);
  linear_gradient(pass_, dq, q_latent_, rows_, prefix_ + "q_b_proj.weight", dlatent);
  norm_gradient(pass_, dlatent, q_compressed_, rows_, config_.q_lora_rank, prefix_ + "q_a_layernorm.weight",
                config_.latent_norm_eps, dcompressed);
  linear_gradient(pass_, dcompressed, x, rows_, prefix_ + "q_a_proj.weight", dx);
}

void AttentionLayer::backward_keys(const Array& dexpanded, const Array& dk_rope, const Array& x, const Array& dx) {
  const std::int64_t rank = config_.kv_lora_rank;
  const std::int64_t rope = config_.qk_rope_head_dim;
  const Array dlatent = pass_.room("dkv latent", rows_, rank);
  const Array dcompressed = pass_.room("dkv compressed", rows_, rank + rope);
  linear_gradient(pass_, dexpanded, latent_, rows_, prefix_ + "kv_b_proj.weight", dlatent);
  norm_gradient(pass_, dlatent, compressed_, rows_, rank + rope, prefix_ + "kv_a_layernorm.weight",
                config_.latent_norm_eps, dcompressed);
  const RotaryPart from{dk_rope.values(), rope, rope, 0};
  const RotaryPart to{dcompressed.values(), rank + rope, rope, rank};
  pass_.runtime.run([&] {
    kernels::turn_heads(from, to, pass_.place.cosines.f32(), pass_.place.sines.f32(), turn_shape(1),
                        rope_layout(config_), true);
  });
  linear_gradient(pass_, dcompressed, x, rows_, prefix_ + "kv_a_proj_with_mqa.weight", dx, true);
}

void AttentionLayer::backward(const Array& dy, const Array& x, const Array& dx) {
  const Runtime::Scope scope(pass_.runtime);
  const std::int64_t heads_count = config_.num_attention_heads;
  const std::int64_t rope = config_.qk_rope_head_dim;
  const Array dout = pass_.room("dheads", rows_, heads_count * config_.v_head_dim);
  const Array delta = pass_.runtime.allocate("delta", Element::kF32, rows_ * heads_count);
  const Array dq = pass_.room("dq", rows_, heads_count * config_.qk_head_dim());
  const Array dq_rope = pass_.room("dq, turned", rows_, heads_count * rope);
  const Array dexpanded = pass_.room("dkv_b", rows_, heads_count * (config_.qk_nope_head_dim + config_.v_head_dim));
  const Array dk_rope = pass_.room("dk, turned", rows_, rope);
  linear_gradient(pass_, dy, out_, rows_, prefix_ + "o_proj.weight", dout);
  pass_.runtime.run([&] {
    kernels::latent_attention_gradient(heads(), {dout.values(), out_.values(), log_sum_exp_.f32(), delta.f32(),
                                                 dq.values(), dq_rope.values(), dexpanded.values(), dk_rope.values()});
  });
  backward_queries(dq, dq_rope, x, dx);
  backward_keys(dexpanded, dk_rope, x, dx);
}

}  // namespace lastbit::device

// Multi-head latent attention in its two forms of execution.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/attention.h"
#include "model/projection.h"
#include "ops/attention_core.h"

namespace lastbit::model {

class MlaPass : public AttentionPass {
 public:
  MlaPass(std::int64_t layer, const PassContext& context);

  [[nodiscard]] tensor::Tensor forward(const tensor::Tensor& x) override;
  [[nodiscard]] tensor::Tensor backward(const tensor::Tensor& dy, const tensor::Tensor& x) override;

 private:
  using Tensor = tensor::Tensor;

  // Queries, keys and values as they meet, [B, S, heads, dim].
  struct Heads {
    Tensor q;
    Tensor k;
    Tensor v;
  };

  [[nodiscard]] Tensor queries(const ops::LinearInput& x);
  [[nodiscard]] Tensor queries_of_latent();
  [[nodiscard]] Heads expand(const Tensor& q, const Tensor& c_kv, const Tensor& k_rope);
  [[nodiscard]] ops::AttentionResult attend_absorbed(const Tensor& q, const Tensor& c_kv, const Tensor& k_rope);
  [[nodiscard]] Tensor backward_queries(Tensor dq, const ops::LinearInput& x);
  [[nodiscard]] Tensor backward_keys_values(const ops::AttentionGrads& grads, const ops::LinearInput& x);

  std::int64_t layer_;
  const PassContext& context_;
  std::string prefix_;
  Projection q_proj_;  // q_b_proj with q-LoRA
  std::optional<Projection> q_a_;
  std::optional<Norm> q_norm_;
  Projection kv_a_;
  Norm kv_norm_;
  Projection kv_b_;
  Projection o_;

  // Kept for backward().
  ops::LinearInput x_;
  Tensor q_compressed_;  // before its norm
  ops::LinearInput q_latent_;
  Tensor kv_compressed_;  // before its norm, [B, S, kv_lora_rank]
  ops::LinearInput kv_latent_;
  Tensor k_rope_;
  Heads heads_;
  Tensor log_sum_exp_;
  ops::LinearInput out_;
};

}  // namespace lastbit::model

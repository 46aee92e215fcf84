// One transformer block: h = x + attention(norm(x)), y = h + ffn(norm(h)).
#pragma once

#include <cstdint>
#include <memory>

#include "model/attention.h"
#include "model/feed_forward.h"
#include "model/pass_context.h"
#include "model/projection.h"

namespace lastbit::model {

// One block in one pass: forward once, then, if the context keeps, backward once. Taps attn_norm, attn_out,
// hidden_mid, mlp_norm, mlp_out, hidden.layerN, all [B, S, d], and their gradients under "grad.".
class BlockPass {
 public:
  BlockPass(std::int64_t layer, const PassContext& context);

  // x [B, S, d], ids [B, S] -> [B, S, d].
  [[nodiscard]] tensor::Tensor forward(const tensor::Tensor& x, const tensor::Tensor& ids);
  // dy -> dx; gradients of the block's weights are added.
  [[nodiscard]] tensor::Tensor backward(const tensor::Tensor& dy);

 private:
  void tap(const char* name, const tensor::Tensor& tensor) const;

  std::int64_t layer_;
  const PassContext& context_;
  Norm attention_norm_;
  Norm ffn_norm_;
  std::unique_ptr<AttentionPass> attention_;
  std::unique_ptr<FeedForwardPass> ffn_;

  // Kept for backward().
  tensor::Tensor x_;
  tensor::Tensor normed_x_;
  tensor::Tensor middle_;
  tensor::Tensor normed_middle_;
};

}  // namespace lastbit::model

// Parallel heads in the manner of Medusa (arXiv 2401.10774, section 2.1.1): what multi-token prediction is compared
// with. Head k = 1 ... D predicts token i + 1 + k from the main model's output at token i alone.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/language_head.h"
#include "model/pass_context.h"
#include "model/projection.h"

namespace lastbit::model {

struct MedusaOptions {
  double weight =
      0.3;  // the total loss is main + weight / D * sum of the heads' means over their own targets, as MTP's
};

// weight / D * sum of the heads' means.
[[nodiscard]] double medusa_loss(const std::vector<HeadLoss>& heads, const MedusaOptions& options);

// All heads in one pass: x + silu(W x), then an output matrix, the model's or the head's own. Weights
// medusa.{k - 1}.proj.weight [d, d] and, under medusa_own_heads, medusa.{k - 1}.head.weight [vocabulary, d].
class MedusaPass {
 public:
  // `ids` [B, S] of the main model's pass. Errors (bad input): no heads in the config, rows of too few tokens.
  MedusaPass(const PassContext& context, const MedusaOptions& options, tensor::Tensor ids);

  // normed [B, S, d]: the main model's output after the final norm. `with_gradient`: keep gradients of weight / D times
  // each head's mean loss.
  void forward(const tensor::Tensor& normed, bool with_gradient);
  // [B, S, vocabulary] of head k = 1 ... D.
  [[nodiscard]] tensor::Tensor logits(std::int64_t k) const;
  [[nodiscard]] const std::vector<HeadLoss>& losses() const { return losses_; }
  // The gradient of `normed`: heads ascending.
  [[nodiscard]] tensor::Tensor backward();

 private:
  struct Head {
    Head(const PassContext& context, std::int64_t index);

    Projection proj;
    LanguageHead output;
    tensor::Tensor gate;  // W x
  };

  const PassContext& context_;
  MedusaOptions options_;
  tensor::Tensor ids_;
  std::vector<std::unique_ptr<Head>> heads_;
  ops::LinearInput x_;
  tensor::Tensor ones_;  // swiglu(gate, 1) is silu(gate)
  std::vector<HeadLoss> losses_;
};

}  // namespace lastbit::model

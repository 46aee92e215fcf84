// Grouped-query attention: MHA with as many key-value heads as heads, MQA with one.
#pragma once

#include <cstdint>
#include <string>

#include "model/attention.h"
#include "model/projection.h"

namespace lastbit::model {

class GqaPass : public AttentionPass {
 public:
  GqaPass(std::int64_t layer, const PassContext& context);

  [[nodiscard]] tensor::Tensor forward(const tensor::Tensor& x) override;
  [[nodiscard]] tensor::Tensor backward(const tensor::Tensor& dy, const tensor::Tensor& x) override;

 private:
  using Tensor = tensor::Tensor;

  [[nodiscard]] Tensor heads(Projection& projection, std::int64_t count, bool rotated) const;
  [[nodiscard]] Tensor back(Tensor gradient, Projection& projection, bool rotated) const;
  [[nodiscard]] tensor::Shape head_shape(const Tensor& x) const;

  std::int64_t layer_;
  const PassContext& context_;
  std::string prefix_;
  Projection q_proj_;
  Projection k_proj_;
  Projection v_proj_;
  Projection o_;

  // Kept for backward().
  ops::LinearInput x_;
  Tensor q_;
  Tensor k_;
  Tensor v_;
  Tensor log_sum_exp_;
  ops::LinearInput out_;
};

}  // namespace lastbit::model

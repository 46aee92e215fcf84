// A mixture of experts: router, dispatch, experts, combine, shared experts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/feed_forward.h"

namespace lastbit::model {

class MixturePass : public FeedForwardPass {
 public:
  MixturePass(std::int64_t layer, const PassContext& context);

  [[nodiscard]] tensor::Tensor forward(const tensor::Tensor& x, const tensor::Tensor& ids) override;
  [[nodiscard]] tensor::Tensor backward(const tensor::Tensor& dy, const tensor::Tensor& x) override;

 private:
  using Tensor = tensor::Tensor;

  void route(const Tensor& x, const Tensor& ids);
  [[nodiscard]] Tensor score(const Tensor& x);
  [[nodiscard]] Tensor jittered(const Tensor& x) const;
  [[nodiscard]] ops::RouteContext place() const;
  void balance();
  [[nodiscard]] Tensor run_experts(const Tensor& x);
  void keep_gate_and_up(Tensor gate, Tensor up);
  [[nodiscard]] Tensor hidden_of_kept() const;
  [[nodiscard]] Tensor backward_experts(const Tensor& dy, const Tensor& x);
  [[nodiscard]] Tensor backward_router(const Tensor& dweights);

  std::int64_t layer_;
  const PassContext& context_;
  std::string prefix_;
  ops::RouterRule rule_;
  Projection router_;
  ExpertProjection gate_proj_;
  ExpertProjection up_proj_;
  ExpertProjection down_proj_;
  std::optional<SwigluFfn> shared_;

  // Kept for backward().
  ops::LinearInput router_input_;
  Tensor logits_;
  ops::Routing routing_;
  Tensor dbalance_;  // of the auxiliary losses by the logits
  ops::ExpertPermutation permutation_;
  ops::LinearInput rows_;  // the experts' input: kept where it is smaller than x gathered again
  Tensor gate_;            // [rows, width]
  Tensor up_;
  numerics::Quantized gate_codes_;  // in place of the two above under fp8_swiglu_cache
  numerics::Quantized up_codes_;
  ops::LinearInput hidden_;
  Tensor outputs_;  // [rows, d], before combine
};

}  // namespace lastbit::model

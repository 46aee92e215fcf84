#include "model/projection.h"

#include <fmt/format.h>

#include <utility>

#include "ops/add.h"
#include "ops/rms_norm.h"

namespace lastbit::model {

using tensor::Tensor;

namespace {

// BF16's codes would take two bytes a weight and save little; only the head, which meets one chunk of tokens after the
// other, keeps them.
bool keeps_codes(const PassContext& context, const ops::LinearNumerics& numerics) {
  return context.keep && numerics.fprop.right.scaled() && ops::keeps_weights(numerics);
}

}  // namespace

Projection::Projection(const PassContext& context, std::string name, const ops::LinearNumerics& numerics)
    : context_(context), name_(std::move(name)), numerics_(numerics) {}

ops::LinearInput Projection::input(Tensor x) const { return {std::move(x), numerics_, context_.site(name_)}; }

Tensor Projection::forward(const ops::LinearInput& x) {
  Tensor y = ops::linear(x, context_.weights.get(name_ + ".weight"), numerics_, context_.site(name_),
                         context_.weights.find(name_ + ".bias"), keeps_codes(context_, numerics_) ? &coded_ : nullptr);
  ops::settle(y, context_.numerics);
  return y;
}

Tensor Projection::backward(const Tensor& dy, const ops::LinearInput& x) {
  const ops::LinearSite site = context_.site(name_);
  const std::string bias = name_ + ".bias";
  Gradients& gradients = *context_.gradients;
  ops::linear_wgrad(dy, x, gradients.of(name_ + ".weight"), numerics_, site,
                    gradients.has(bias) ? &gradients.of(bias) : nullptr);
  Tensor dx = ops::linear_dgrad(dy, context_.weights.get(name_ + ".weight"), numerics_, site, &coded_);
  coded_.clear();
  ops::settle(dx, context_.numerics);
  return dx;
}

ExpertProjection::ExpertProjection(const PassContext& context, const std::string& prefix, const std::string& role,
                                   const ops::LinearNumerics& numerics)
    : context_(context), site_(context.site(prefix + "." + role)), numerics_(numerics) {
  for (std::int64_t e = 0; e < context.config.n_routed_experts; ++e) {
    names_.push_back(fmt::format("{}.{}.{}.weight", prefix, e, role));
    weights_.push_back(context.weights.get(names_.back()));
  }
}

ops::LinearInput ExpertProjection::input(Tensor rows, const ops::GroupOffsets& offsets) const {
  return {std::move(rows), numerics_, site_, offsets};
}

Tensor ExpertProjection::forward(const ops::LinearInput& rows) {
  Tensor y =
      ops::grouped_linear(rows, weights_, numerics_, site_, keeps_codes(context_, numerics_) ? &coded_ : nullptr);
  ops::settle(y, context_.numerics);
  return y;
}

Tensor ExpertProjection::backward(const Tensor& dy, const ops::LinearInput& rows) {
  std::vector<Tensor> gradients;
  gradients.reserve(names_.size());
  for (const std::string& name : names_) gradients.push_back(context_.gradients->of(name));
  ops::grouped_linear_wgrad(dy, rows, gradients, numerics_, site_);
  Tensor dx = ops::grouped_linear_dgrad(dy, rows.offsets(), weights_, numerics_, site_, &coded_);
  coded_.clear();
  ops::settle(dx, context_.numerics);
  return dx;
}

Tensor Norm::forward(const Tensor& x) const {
  Tensor y = ops::rms_norm(x, context_.weights.get(name_ + ".weight"), eps_);
  ops::settle(y, context_.numerics);
  return y;
}

Tensor Norm::backward(const Tensor& dy, const Tensor& x) const {
  Tensor dx = ops::rms_norm_backward(dy, x, context_.weights.get(name_ + ".weight"), eps_,
                                     context_.gradients->of(name_ + ".weight"));
  ops::settle(dx, context_.numerics);
  return dx;
}

Tensor add_settled(const Tensor& a, const Tensor& b, const PassContext& context) {
  Tensor sum = ops::add(a, b);
  ops::settle(sum, context.numerics);
  return sum;
}

}  // namespace lastbit::model

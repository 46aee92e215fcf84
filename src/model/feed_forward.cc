#include "model/feed_forward.h"

#include "model/mixture.h"
#include "model/weight_specs.h"
#include "ops/swiglu.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

class DensePass : public FeedForwardPass {
 public:
  DensePass(std::int64_t layer, const PassContext& context) : ffn_(context, layer_prefix(layer) + "mlp") {}

  [[nodiscard]] Tensor forward(const Tensor& x, const Tensor& /*ids*/) override { return ffn_.forward(x); }
  [[nodiscard]] Tensor backward(const Tensor& dy, const Tensor& x) override { return ffn_.backward(dy, x); }

 private:
  SwigluFfn ffn_;
};

}  // namespace

SwigluFfn::SwigluFfn(const PassContext& context, const std::string& prefix)
    : context_(context),
      gate_proj_(context, prefix + ".gate_proj", context.numerics.projection),
      up_proj_(context, prefix + ".up_proj", context.numerics.projection),
      down_proj_(context, prefix + ".down_proj", context.numerics.projection) {}

Tensor SwigluFfn::forward(const Tensor& x) {
  x_ = gate_proj_.input(x);
  gate_ = gate_proj_.forward(x_);
  up_ = up_proj_.forward(x_);
  Tensor hidden = ops::swiglu(gate_, up_);
  ops::settle(hidden, context_.numerics);
  hidden_ = down_proj_.input(hidden);
  Tensor y = down_proj_.forward(hidden_);
  if (context_.recompute.norms) x_ = {};
  if (context_.recompute.swiglu) hidden_ = {};
  return y;
}

Tensor SwigluFfn::backward(const Tensor& dy, const Tensor& x) {
  if (x_.empty()) x_ = gate_proj_.input(x);
  if (hidden_.empty()) {
    Tensor hidden = ops::swiglu(gate_, up_);
    ops::settle(hidden, context_.numerics);
    hidden_ = down_proj_.input(hidden);
  }
  const Tensor dhidden = down_proj_.backward(dy, hidden_);
  ops::SwigluGradients grads = ops::swiglu_backward(dhidden, gate_, up_);
  ops::settle(grads.dgate, context_.numerics);
  ops::settle(grads.dup, context_.numerics);
  return add_settled(gate_proj_.backward(grads.dgate, x_), up_proj_.backward(grads.dup, x_), context_);
}

std::unique_ptr<FeedForwardPass> make_feed_forward_pass(std::int64_t layer, const PassContext& context) {
  if (context.config.is_moe_layer(layer)) return std::make_unique<MixturePass>(layer, context);
  return std::make_unique<DensePass>(layer, context);
}

}  // namespace lastbit::model

#include "model/medusa.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/error.h"
#include "ops/element_type.h"
#include "ops/swiglu.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

Tensor ones_like(const Tensor& x) {
  Tensor ones = Tensor::empty(x.dtype(), x.shape());
  ops::with_element_type(x.dtype(), "Medusa: FP32 or FP64", [&](auto type) {
    using T = decltype(type);
    std::ranges::fill(ones.mutable_values<T>(), T{1});
  });
  return ones;
}

std::string head_name(std::int64_t index, const char* role) { return fmt::format("medusa.{}.{}", index, role); }

}  // namespace

double medusa_loss(const std::vector<HeadLoss>& heads, const MedusaOptions& options) {
  double total = 0;
  for (const HeadLoss& loss : heads) total += loss.nll / static_cast<double>(loss.targets);
  return options.weight * total / static_cast<double>(heads.size());
}

MedusaPass::Head::Head(const PassContext& context, std::int64_t index)
    : proj(context, head_name(index, "proj"), context.numerics.projection),
      output(context, std::nullopt,
             context.config.medusa_own_heads ? head_name(index, "head") : output_weight(context.config)) {}

MedusaPass::MedusaPass(const PassContext& context, const MedusaOptions& options, Tensor ids)
    : context_(context), options_(options), ids_(std::move(ids)) {
  const std::int64_t count = context.config.medusa_heads;
  if (count == 0) core::fail_input("Medusa: the config has no lastbit_medusa_heads, expected at least 1");
  if (ids_.dim(1) < count + 2)
    core::fail_input("{} Medusa heads: found sequences of {} tokens, expected at least {}", count, ids_.dim(1),
                     count + 2);
  for (std::int64_t index = 0; index < count; ++index) heads_.push_back(std::make_unique<Head>(context, index));
}

void MedusaPass::forward(const Tensor& normed, bool with_gradient) {
  x_ = heads_.front()->proj.input(normed);
  ones_ = ones_like(normed);
  std::int64_t ahead = 1;
  for (const auto& head : heads_) {
    ++ahead;
    head->gate = head->proj.forward(x_);
    Tensor added = ops::swiglu(head->gate, ones_);
    ops::settle(added, context_.numerics);
    static_cast<void>(head->output.normalise(add_settled(normed, added, context_)));
    const Tensor targets = targets_ahead(ids_, ahead, ids_.dim(1), context_.padding);
    std::optional<double> scale;
    if (with_gradient) {
      scale = options_.weight / static_cast<double>(heads_.size()) / static_cast<double>(count_targets(targets));
    }
    losses_.push_back(head->output.loss(targets, scale));
  }
}

Tensor MedusaPass::logits(std::int64_t k) const { return heads_.at(static_cast<std::size_t>(k - 1))->output.logits(); }

Tensor MedusaPass::backward() {
  Tensor dnormed;
  for (const auto& head : heads_) {
    const Tensor& dresidual = head->output.normed_gradient();
    Tensor dgate = ops::swiglu_backward(dresidual, head->gate, ones_).dgate;
    ops::settle(dgate, context_.numerics);
    const Tensor dx = add_settled(dresidual, head->proj.backward(dgate, x_), context_);
    dnormed = dnormed.size() == 0 ? dx : add_settled(dnormed, dx, context_);
  }
  return dnormed;
}

}  // namespace lastbit::model

// Transformer::loss_and_gradients: the forward pass, keeping what the backward pass needs, and the backward pass.
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "model/block.h"
#include "model/language_head.h"
#include "model/mtp.h"
#include "model/tap_names.h"
#include "model/token_ids.h"
#include "model/transformer.h"
#include "ops/embedding.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

double mean(const HeadLoss& loss) { return loss.nll / static_cast<double>(loss.targets); }

double total_loss(const LossResult& result, const LossOptions& options) {
  double total = mean(result.main);
  if (options.mtp) total += mtp_loss(result.mtp, result.main, *options.mtp);
  if (options.medusa) total += medusa_loss(result.medusa, *options.medusa);
  if (options.balance_in_loss)
    for (const LayerRouting& layer : result.routing) total += layer.auxiliary_loss;
  return total;
}

}  // namespace

LossResult Transformer::loss_and_gradients(const Tensor& given_ids, const LossOptions& options,
                                           Gradients& gradients) const {
  Taps taps(require_taps(options.taps, gradient_tap_names(), config_), options.watch);
  const Tensor ids = given_ids.contiguous();
  check_token_ids(ids, config_.vocab_size);
  if (ids.dim(1) < 2)
    core::fail_input("loss: found sequences of 1 token, expected at least 2: there is no next token to predict");
  if (options.mtp && !weights_.has_mtp())
    core::fail_input("MTP: the checkpoint has no MTP modules, expected layers {} and up", config_.num_hidden_layers);

  const TokenLayout layout = layout_of(ids, options.documents);
  const ops::RopeTables rope = rope_for(layout);
  LossResult result;
  PassContext context{config_, weights_, numerics_, rope, layout, taps};
  context.shadow = options.shadow;
  context.scales = options.scales;
  context.keep = true;
  context.recompute = options.recompute;
  context.balance_loss = options.balance_loss;
  context.randomness = options.randomness;
  context.routing = &result.routing;
  context.gradients = &gradients;
  if (options.padding.size() > 0) {
    core::check(options.padding.shape() == ids.shape(), "padding is said of every token");
    context.padding = &options.padding;
  }

  Tensor hidden = embed(ids, context);
  std::vector<std::unique_ptr<BlockPass>> blocks;
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    blocks.push_back(std::make_unique<BlockPass>(layer, context));
    hidden = blocks.back()->forward(hidden, ids);
  }
  LanguageHead head(context, "model.norm", output_weight(config_));
  const Tensor normed = head.normalise(hidden);
  taps.record("hidden.final_norm", normed);

  const Tensor targets = targets_ahead(ids, 1, ids.dim(1), context.padding);
  result.main = head.loss(targets, 1 / static_cast<double>(count_targets(targets)));
  Tensor dnormed = head.normed_gradient();
  Tensor dstream;  // what MTP adds to the gradient of the residual stream
  if (options.mtp) {
    MtpPass mtp(context, *options.mtp, ids);
    mtp.forward(hidden, normed, true);
    result.mtp = mtp.losses();
    const MtpPass::InputGradients added = mtp.backward();
    if (added.normed.size() > 0) dnormed = add_settled(dnormed, added.normed, context);
    dstream = added.hidden;
  }
  if (options.medusa) {
    MedusaPass medusa(context, *options.medusa, ids);
    medusa.forward(normed, true);
    result.medusa = medusa.losses();
    dnormed = add_settled(dnormed, medusa.backward(), context);
  }
  taps.record("grad.hidden.final_norm", dnormed);
  Tensor dhidden = head.backward_norm(dnormed);
  if (dstream.size() > 0) dhidden = add_settled(dhidden, dstream, context);
  while (!blocks.empty()) {
    dhidden = blocks.back()->backward(dhidden);
    blocks.pop_back();
  }
  taps.record("grad.hidden.embed", dhidden);
  ops::embedding_backward(dhidden, ids, gradients.of("model.embed_tokens.weight"));
  result.loss = total_loss(result, options);
  result.taps = taps.take();
  return result;
}

}  // namespace lastbit::model

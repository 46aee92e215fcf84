#include "model/mtp.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "model/weight_specs.h"
#include "numerics/parse.h"
#include "ops/embedding.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

constexpr std::array<const char*, 2> kVariantNames = {"paper", "hf"};

// Tokens [begin, end) of each row of x [B, S, ...].
Tensor tokens_of(const Tensor& x, std::int64_t begin, std::int64_t end) { return x.slice(1, begin, end).contiguous(); }

// x [B, S, d] with zeros after it up to `tokens` a row.
Tensor padded(const Tensor& x, std::int64_t tokens) {
  Tensor result = Tensor::zeros(x.dtype(), {x.dim(0), tokens, x.dim(2)});
  const std::size_t row_bytes = x.nbytes() / static_cast<std::size_t>(x.dim(0));
  const std::size_t padded_bytes = result.nbytes() / static_cast<std::size_t>(x.dim(0));
  for (std::size_t row = 0; row < static_cast<std::size_t>(x.dim(0)); ++row)
    std::memcpy(result.mutable_bytes().data() + row * padded_bytes, x.bytes().data() + row * row_bytes, row_bytes);
  return result;
}

// [a; b] along the last axis, of one shape each.
Tensor joined_columns(const Tensor& a, const Tensor& b) {
  tensor::Shape shape = a.shape();
  shape.back() += b.dim(-1);
  Tensor result = Tensor::empty(a.dtype(), shape);
  const std::size_t width = a.nbytes() / static_cast<std::size_t>(a.size() / a.dim(-1));
  std::byte* out = result.mutable_bytes().data();
  for (std::size_t row = 0; row < a.nbytes() / width; ++row) {
    std::memcpy(out + 2 * row * width, a.bytes().data() + row * width, width);
    std::memcpy(out + (2 * row + 1) * width, b.bytes().data() + row * width, width);
  }
  return result;
}

TokenLayout shifted_layout(std::int64_t batch, std::int64_t tokens, std::int64_t shift) {
  TokenLayout layout = plain_layout(batch, tokens);
  for (std::int64_t& position : layout.positions.mutable_values<std::int64_t>()) position += shift;
  return layout;
}

std::string module_name(const PassContext& context, std::int64_t depth, const char* role) {
  return layer_prefix(context.config.num_hidden_layers + depth - 1) + role;
}

}  // namespace

MtpVariant find_mtp_variant(std::string_view name) {
  return static_cast<MtpVariant>(
      numerics::require_name("MTP variant", name, {kVariantNames.begin(), kVariantNames.end()}));
}

std::string_view to_string(MtpVariant variant) { return kVariantNames.at(static_cast<std::size_t>(variant)); }

MtpPass::Module::Module(const PassContext& shared, std::int64_t module_depth, std::int64_t batch, std::int64_t tokens)
    : depth(module_depth),
      layout(shifted_layout(batch, tokens, module_depth)),
      context(shared.with_layout(layout)),
      embedding_norm(context, module_name(shared, module_depth, "enorm"), shared.config.rms_norm_eps),
      hidden_norm(context, module_name(shared, module_depth, "hnorm"), shared.config.rms_norm_eps),
      eh_proj(context, module_name(shared, module_depth, "eh_proj"), shared.numerics.head),
      block(shared.config.num_hidden_layers + module_depth - 1, context),
      head(context, module_name(shared, module_depth, "shared_head.norm"), output_weight(shared.config)) {}

MtpPass::MtpPass(const PassContext& context, const MtpOptions& options, Tensor ids)
    : context_(context), options_(options), ids_(std::move(ids)) {
  const std::int64_t depths = context.config.num_nextn_predict_layers;
  if (ids_.dim(1) < depths + 2)
    core::fail_input("MTP of depth {}: found sequences of {} tokens, expected at least {}", depths, ids_.dim(1),
                     depths + 2);
  for (std::int64_t depth = 1; depth <= depths; ++depth)
    modules_.push_back(std::make_unique<Module>(context, depth, ids_.dim(0), ids_.dim(1) - depth));
}

// The module's residual stream from the one before.
Tensor MtpPass::run(Module& module, const Tensor& previous) {
  module.ids = tokens_of(ids_, module.depth, ids_.dim(1));
  module.previous = tokens_of(previous, 0, ids_.dim(1) - module.depth);
  module.embedded = ops::embedding(module.ids, context_.weights.get("model.embed_tokens.weight"));
  ops::settle(module.embedded, context_.numerics);
  const Tensor e = module.embedding_norm.forward(module.embedded);
  const Tensor h = module.hidden_norm.forward(module.previous);
  module.joined = module.eh_proj.input(options_.hidden_first ? joined_columns(h, e) : joined_columns(e, h));
  return module.block.forward(module.eh_proj.forward(module.joined), module.ids);
}

void MtpPass::forward(const Tensor& hidden, const Tensor& normed, bool with_gradient) {
  const bool paper = options_.variant == MtpVariant::kPaper;
  Tensor previous = paper ? hidden : normed;
  for (const auto& module : modules_) {
    const Tensor stream = run(*module, previous);
    const Tensor& after_norm = module->head.normalise(stream);
    const Tensor targets = targets_ahead(ids_, module->depth + 1, ids_.dim(1) - module->depth, context_.padding);
    std::optional<double> scale;
    if (with_gradient) {
      const std::int64_t count =
          count_targets(options_.over_all_tokens ? targets_ahead(ids_, 1, ids_.dim(1), context_.padding) : targets);
      scale = options_.weight / static_cast<double>(modules_.size()) / static_cast<double>(count);
    }
    losses_.push_back(module->head.loss(targets, scale));
    previous = paper ? stream : after_norm;
  }
}

double mtp_loss(const std::vector<HeadLoss>& depths, const HeadLoss& main, const MtpOptions& options) {
  double total = 0;
  for (const HeadLoss& loss : depths)
    total += loss.nll / static_cast<double>(options.over_all_tokens ? main.targets : loss.targets);
  return options.weight * total / static_cast<double>(depths.size());
}

Tensor MtpPass::logits(std::int64_t depth) const {
  return modules_.at(static_cast<std::size_t>(depth - 1))->head.logits();
}

// dprevious: the gradient that the next module's input brings, [B, S - depth, d], or without elements.
Tensor MtpPass::back(Module& module, const Tensor& dprevious) {
  const bool paper = options_.variant == MtpVariant::kPaper;
  Tensor dnormed = module.head.normed_gradient();
  if (!paper && dprevious.size() > 0) dnormed = add_settled(dnormed, dprevious, context_);
  Tensor dstream = module.head.backward_norm(dnormed);
  if (paper && dprevious.size() > 0) dstream = add_settled(dstream, dprevious, context_);
  const Tensor djoined = module.eh_proj.backward(module.block.backward(dstream), module.joined);
  const std::int64_t d = djoined.dim(-1) / 2;
  const Tensor first = djoined.slice(-1, 0, d).contiguous();
  const Tensor second = djoined.slice(-1, d, 2 * d).contiguous();
  const Tensor& de = options_.hidden_first ? second : first;
  const Tensor& dh = options_.hidden_first ? first : second;
  ops::embedding_backward(module.embedding_norm.backward(de, module.embedded), module.ids,
                          context_.gradients->of("model.embed_tokens.weight"));
  return module.hidden_norm.backward(dh, module.previous);
}

MtpPass::InputGradients MtpPass::backward() {
  Tensor dprevious;
  for (auto module = modules_.rbegin(); module != modules_.rend(); ++module) {
    const Tensor gradient = back(**module, dprevious);
    dprevious = padded(gradient, gradient.dim(1) + 1);
  }
  if (options_.variant == MtpVariant::kPaper) return {padded(dprevious, ids_.dim(1)), {}};
  return {{}, padded(dprevious, ids_.dim(1))};
}

}  // namespace lastbit::model

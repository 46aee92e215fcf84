#include "model/language_head.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "ops/cross_entropy.h"
#include "ops/element_type.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

constexpr std::int64_t kChunkTokens = 256;

void check_finite(const Tensor& logits) {
  const bool finite = ops::with_element_type(logits.dtype(), "logits: FP32 or FP64", [&](auto type) {
    const auto values = logits.values<decltype(type)>();
    return std::all_of(values.begin(), values.end(), [](auto x) { return std::isfinite(x); });
  });
  if (!finite) core::fail_input("a logit is not finite: with these weights the activations overflow");
}

}  // namespace

std::string output_weight(const ModelConfig& config) {
  return config.tie_word_embeddings ? "model.embed_tokens" : "lm_head";
}

LanguageHead::LanguageHead(const PassContext& context, const std::optional<std::string>& norm, std::string weight)
    : context_(context), weight_(std::move(weight)) {
  if (norm) norm_.emplace(context, *norm, context.config.rms_norm_eps);
}

const Tensor& LanguageHead::normalise(const Tensor& hidden) {
  hidden_ = hidden;
  normed_ = norm_ ? norm_->forward(hidden) : hidden;
  return normed_;
}

Tensor LanguageHead::chunk_logits(const ops::LinearInput& rows, ops::CodedWeights* coded) const {
  Tensor logits = ops::linear(rows, context_.weights.get(weight_ + ".weight"), context_.numerics.head,
                              context_.site(weight_), nullptr, coded);
  check_finite(logits);
  return logits;
}

Tensor LanguageHead::logits() const { return chunk_logits({normed_, context_.numerics.head, context_.site(weight_)}); }

Tensor LanguageHead::last_logits() const {
  const std::int64_t tokens = normed_.dim(1);
  const Tensor rows = normed_.slice(1, tokens - 1, tokens).contiguous().reshape({normed_.dim(0), normed_.dim(2)});
  return chunk_logits({rows, context_.numerics.head, context_.site(weight_)});
}

HeadLoss LanguageHead::loss(const Tensor& targets, std::optional<double> scale) {
  core::check(targets.size() == normed_.dim(0) * normed_.dim(1), "a target for each token");
  const Tensor rows = token_rows(normed_);
  const Tensor flat_targets = targets.reshape({targets.size()});
  const ops::LinearSite site = context_.site(weight_);
  HeadLoss total;
  ops::CodedWeights coded;  // of all chunks
  if (scale) dnormed_ = Tensor::empty(normed_.dtype(), normed_.shape());
  std::size_t filled = 0;
  for (std::int64_t begin = 0; begin < rows.dim(0); begin += kChunkTokens) {
    const std::int64_t end = std::min(begin + kChunkTokens, rows.dim(0));
    const ops::LinearInput input(rows.slice(0, begin, end), context_.numerics.head, site);
    Tensor logits = chunk_logits(input, &coded);
    const Tensor chunk_targets = flat_targets.slice(0, begin, end);
    const ops::CrossEntropy entropy = scale ? ops::cross_entropy_and_gradient(logits, chunk_targets, {*scale, {}, 0})
                                            : ops::cross_entropy(logits, chunk_targets);
    for (const double nll : entropy.nll.values<double>()) total.nll += nll;
    total.targets += entropy.targets;
    if (!scale) continue;
    ops::settle(logits, context_.numerics);  // the gradient now
    Tensor& dweight = context_.gradients->of(weight_ + ".weight");
    ops::linear_wgrad(logits, input, dweight, context_.numerics.head, site);
    Tensor dx =
        ops::linear_dgrad(logits, context_.weights.get(weight_ + ".weight"), context_.numerics.head, site, &coded);
    ops::settle(dx, context_.numerics);
    std::copy(dx.bytes().begin(), dx.bytes().end(),
              dnormed_.mutable_bytes().begin() + static_cast<std::ptrdiff_t>(filled));
    filled += dx.nbytes();
  }
  return total;
}

Tensor LanguageHead::backward_norm(const Tensor& dnormed) const {
  return norm_ ? norm_->backward(dnormed, hidden_) : dnormed;
}

Tensor targets_ahead(const Tensor& ids, std::int64_t ahead, std::int64_t tokens, const Tensor* padding) {
  const std::int64_t length = ids.dim(1);
  Tensor targets = Tensor::empty(tensor::DType::kI64, {ids.dim(0), tokens});
  const auto id = ids.values<std::int64_t>();
  const auto target = targets.mutable_values<std::int64_t>();
  for (std::int64_t row = 0; row < ids.dim(0); ++row)
    for (std::int64_t i = 0; i < tokens; ++i)
      target[static_cast<std::size_t>(row * tokens + i)] =
          i + ahead < length ? id[static_cast<std::size_t>(row * length + i + ahead)] : ops::kNoTarget;
  if (padding == nullptr) return targets;
  const auto is_padding = padding->values<bool>();
  for (std::int64_t row = 0; row < ids.dim(0); ++row)
    for (std::int64_t i = 0; i < std::min(tokens, length - ahead); ++i)
      if (is_padding[static_cast<std::size_t>(row * length + i + ahead)])
        target[static_cast<std::size_t>(row * tokens + i)] = ops::kNoTarget;
  return targets;
}

std::int64_t count_targets(const Tensor& targets) {
  const auto all = targets.values<std::int64_t>();
  return std::ranges::count_if(all, [](std::int64_t target) { return target != ops::kNoTarget; });
}

}  // namespace lastbit::model

// The head: a norm, logits over the vocabulary, and the loss of predicting tokens from them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/pass_context.h"
#include "model/projection.h"
#include "tensor/tensor.h"

namespace lastbit::model {

// Sums over tokens with a target.
struct HeadLoss {
  double nll = 0;
  std::int64_t targets = 0;
};

// The matrix that gives the model's logits, without ".weight": the embedding's where they are tied.
[[nodiscard]] std::string output_weight(const ModelConfig& config);

// One head in one pass.
class LanguageHead {
 public:
  // The norm's gain and the output matrix, without ".weight"; no norm: what is read has been through one.
  LanguageHead(const PassContext& context, const std::optional<std::string>& norm, std::string weight);

  // The norm alone: hidden [B, S, d] -> [B, S, d], kept.
  [[nodiscard]] const tensor::Tensor& normalise(const tensor::Tensor& hidden);
  // [B, S, vocabulary] of what was normalised; FP32 (FP64 under fp64), not settled.
  // Errors: a logit that is not finite is bad input.
  [[nodiscard]] tensor::Tensor logits() const;
  // The last position's alone, [B, vocabulary]: the bits that logits() has there, where no scale spans rows.
  [[nodiscard]] tensor::Tensor last_logits() const;
  // Negative log-likelihood of targets [B, S] (ops::kNoTarget: none), in chunks of tokens, so that logits exist for one
  // chunk at a time. With `scale`: the gradient of scale * sum of nll is kept for backward(), and the head's weight
  // gradient is added.
  [[nodiscard]] HeadLoss loss(const tensor::Tensor& targets, std::optional<double> scale);
  // The gradient of what was normalised, after loss() with a scale.
  [[nodiscard]] const tensor::Tensor& normed_gradient() const { return dnormed_; }
  // Through the norm, where there is one, from a gradient of its result [B, S, d].
  [[nodiscard]] tensor::Tensor backward_norm(const tensor::Tensor& dnormed) const;

 private:
  [[nodiscard]] tensor::Tensor chunk_logits(const ops::LinearInput& rows, ops::CodedWeights* coded = nullptr) const;

  const PassContext& context_;
  std::optional<Norm> norm_;
  std::string weight_;
  tensor::Tensor hidden_;
  tensor::Tensor normed_;
  tensor::Tensor dnormed_;
};

// The targets of rows: targets[b, i] = ids[b, i + ahead], none for the last `ahead` and where that token is padding.
// ids [B, S]; padding [B, S] bool, or null.
[[nodiscard]] tensor::Tensor targets_ahead(const tensor::Tensor& ids, std::int64_t ahead, std::int64_t tokens,
                                           const tensor::Tensor* padding = nullptr);
// How many of them are targets.
[[nodiscard]] std::int64_t count_targets(const tensor::Tensor& targets);

}  // namespace lastbit::model

// Group relative policy optimisation: the loss of one group of outputs to one question, and its gradient.
//
// Sources: DeepSeekMath (Shao et al., arXiv 2402.03300, equations 3 and 4) and DeepSeek-V3 (arXiv 2412.19437, equations
// 26 to 28). With the ratio r = pi / pi_old, s = min(r A, clip(r, 1 - c, 1 + c) A) and k3 = pi_ref / pi -
// ln(pi_ref / pi) - 1, the loss is -J, where J is read in three ways that differ:
//   "token"    1/G sum_i 1/|o_i| sum_t (s - beta k3) of every token         DeepSeekMath's equation 3
//   "seq"      1/G sum_i (s - beta k3), r and k3 of the whole output's probability   V3's equations as printed
//   "tokmean"  the mean of s - beta k3 over all valid tokens of the group
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::train {

enum class GrpoReading : std::uint8_t { kToken, kSequence, kTokenMean };  // "token", "seq", "tokmean"
// Of the rewards: over G, or over G - 1.
enum class GroupDeviation : std::uint8_t { kPopulation, kSample };         // "popstd", "sampstd"
[[nodiscard]] GrpoReading find_grpo_reading(std::string_view name);        // another name is bad input
[[nodiscard]] GroupDeviation find_group_deviation(std::string_view name);  // likewise

// A_i = (r_i - mean(r)) / (std(r) + 1e-8), in double, sums in order. Errors (bad input): a reward that is not finite,
// an empty group, a sample deviation of one reward.
[[nodiscard]] std::vector<double> group_advantages(std::span<const double> rewards, GroupDeviation deviation);

struct GrpoRule {
  GrpoReading reading = GrpoReading::kToken;
  double clip_range = 0.2;  // c
  double kl_weight = 0.04;  // beta
};

// What was generated. Positions from lengths[i] on are padding: read by nobody.
struct GrpoOutputs {
  tensor::Tensor tokens;              // [G, T] i64
  std::vector<std::int64_t> lengths;  // [G], 1 .. T
};

// ln softmax(logits)[token], [G, T] in the dtype of logits [G, T, V] (F32 or F64), 0 where there is padding. In double:
// x - max - ln(sum of exp(x - max) in order), rounded once.
// Errors (bad input): shapes or dtypes that do not fit, a length outside 1 .. T, a token outside the vocabulary, logits
// without a finite log-softmax.
[[nodiscard]] tensor::Tensor token_log_probabilities(const tensor::Tensor& logits, const GrpoOutputs& outputs);

struct GrpoLoss {
  double loss = 0;
  double kl = 0;             // J's share of k3: the loss without it is loss - kl_weight * kl
  double clipped_share = 0;  // of ratios whose gradient the clip has stopped
  std::vector<double> k3;    // [G * T], 0 where there is padding; [G] for kSequence
  tensor::Tensor gradient;   // of the loss by the logits: [G, T, V], 0 where there is padding
};

// The policy's logits [G, T, V]; log probabilities of the outputs under the policy that generated them and under the
// reference, [G, T]; advantages [G]. The tensors are all F32 or all F64; everything is computed in double and the
// gradient rounded once to that dtype. A ratio on the clip's edge passes its gradient, as torch.clamp's does.
// Errors (bad input): as token_log_probabilities; log probabilities above 0 or not finite; advantages that are not
// finite; a clip_range or kl_weight below 0; a ratio or k3 so large that the loss is not finite.
[[nodiscard]] GrpoLoss grpo_loss(const tensor::Tensor& logits, const tensor::Tensor& old_log_probabilities,
                                 const tensor::Tensor& reference_log_probabilities, std::span<const double> advantages,
                                 const GrpoOutputs& outputs, const GrpoRule& rule);

}  // namespace lastbit::train

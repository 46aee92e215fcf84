// Losses that keep the experts' loads even, with their gradients by the router logits.
//
// All but the z-loss have the form L = alpha * mean over sequences of sum_i f_i P_i: f counts tokens and is a constant
// of the backward pass, P is a mean of affinities' shares and is differentiated. Affinities and gradients have the
// dtype of the logits (FP32 or FP64); f, P and the loss are in FP64, tokens in order. No tokens: every loss is 0.
#pragma once

#include <cstdint>

#include "ops/affinity.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

struct BalanceLoss {
  double loss = 0;
  tensor::Tensor dlogits;  // as the logits
  tensor::Tensor f;        // FP64 [sequences, experts], or [sequences, devices]; empty for the z-loss
  tensor::Tensor p;        // likewise
};

struct BalanceInput {
  const tensor::Tensor& logits;  // [tokens, shared_logits + experts]
  // [tokens, K] i64, -1 for an unused slot: the choice that f counts. unbiased_choice() gives the published one of V3,
  // Routing::chosen the experts really routed to.
  const tensor::Tensor& choice;
  // What P averages: softmax, or for both sigmoids s_i / (sum_j s_j + 1e-20).
  Affinity affinity = Affinity::kSoftmax;
  double alpha = 1;
  std::int64_t tokens_a_sequence = 0;  // divides tokens; 0: all tokens are one sequence (batch-wise)
  std::int64_t shared_logits = 0;      // as in RouterRule
};

// The K experts of largest affinity of each token, no bias and no groups, ascending: [tokens, K] i64.
[[nodiscard]] tensor::Tensor unbiased_choice(const tensor::Tensor& logits, Affinity affinity, std::int64_t top_k,
                                             std::int64_t shared_logits = 0);

// f_i = N / (K T) * pairs that chose i, P_i = mean over T tokens of the share of i; N experts, K = choice.dim(1), T
// tokens a sequence. With
//   sigmoid, a sequence: DeepSeek-V3, arXiv 2412.19437, equations 17 to 20; all tokens at once: its batch-wise variant;
//   softmax, all tokens: DeepSeekMoE's expert-level loss, arXiv 2401.06066, equations 12 to 14;
//   softmax, a sequence: seq_aux of the DeepSeekMoE and DeepSeek-V2 releases.
[[nodiscard]] BalanceLoss expert_balance_loss(const BalanceInput& input);

// DeepSeekMoE's device-level loss, equations 15 to 17: f'_d is the mean of f over the device's experts, P'_d the sum of
// P. Device d holds N / devices consecutive experts.
[[nodiscard]] BalanceLoss device_balance_loss(const BalanceInput& input, std::int64_t devices);

// DeepSeek-V2's communication loss, arXiv 2405.04434, equations 29 to 31: f''_d = D / (M T) * tokens with at least one
// expert on device d, P''_d the sum of P; M = kept_devices, the most devices a token is sent to.
[[nodiscard]] BalanceLoss communication_balance_loss(const BalanceInput& input, std::int64_t devices,
                                                     std::int64_t kept_devices);

// GShard, arXiv 2006.16668, algorithm 1: alpha / E * sum_e (c_e / S) m_e; c_e counts the tokens whose first choice is
// e, m_e is the mean softmax gate. Mean over groups of `tokens_a_group` (0: one group of all tokens S).
[[nodiscard]] BalanceLoss gshard_loss(const tensor::Tensor& logits, double alpha, std::int64_t tokens_a_group = 0);

// Switch Transformer, arXiv 2101.03961, equations 4 to 6: alpha * N * sum_i f_i P_i, f_i the share of tokens whose
// largest gate is i, P_i the mean softmax gate. Published alpha 0.01.
[[nodiscard]] BalanceLoss switch_loss(const tensor::Tensor& logits, double alpha);

// Router z-loss, arXiv 2202.08906, equation 5: coefficient * mean over tokens of (log sum_j exp x_j)^2. Published
// coefficient 0.001.
[[nodiscard]] BalanceLoss router_z_loss(const tensor::Tensor& logits, double coefficient);

}  // namespace lastbit::ops

// What a training step needs behind the model: the loss with its gradient, and the optimiser. Arrays are the device's,
// row-major; errors as launch().
#pragma once

#include <cstdint>

#include "kernels/version.h"

namespace lastbit::kernels {

// Logits and their gradient, FP32 or BF16 codes.
struct LossArrays {
  const void* logits;           // [tokens, vocabulary]
  const std::int64_t* targets;  // [tokens], -1: none
  float* nll;                   // [tokens], 0 without a target
  float* log_sum_exp;           // [tokens]
  void* gradient;               // [tokens, vocabulary], of `share` times the mean over tokens with a target; 0 without
  bool bf16_logits;
  bool bf16_gradient;
  int tokens;
  int vocabulary;
  float share = 1;
};
void cross_entropy(const LossArrays& arrays, Version version);

// The constants of a step, in FP32: see train/adamw_loop.h.
struct AdamwFactors {
  float decay;
  float beta1, one_less_beta1;
  float beta2, one_less_beta2;
  float step_size;
  float second_correction;
  float epsilon;
  bool from_rounded;         // the weights are moved by the rounded moments
  float gradient_scale = 1;  // the gradient is multiplied by it first
};
// FP32 weights and BF16 moments, [count] each; a new array may be the old one.
struct AdamwArrays {
  const float* weights;
  const float* gradient;
  const std::uint16_t* first;
  const std::uint16_t* second;
  float* new_weights;
  std::uint16_t* new_first;
  std::uint16_t* new_second;
  int count;
};
void adamw(const AdamwArrays& arrays, const AdamwFactors& factors, Version version);

}  // namespace lastbit::kernels

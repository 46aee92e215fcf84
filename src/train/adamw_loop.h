// The inner loop of AdamW, vectorised: the bits of the sentences in adamw.h on every instruction set.
#pragma once

#include <cstdint>

namespace lastbit::train {

// The constants of one step, in FP32.
struct AdamWFactors {
  float gradient_scale;
  float decay;                  // 1 - rate * weight decay
  float beta1, one_less_beta1;  // 1 - beta1
  float beta2, one_less_beta2;
  float step_size;          // rate / (1 - beta1^t)
  float second_correction;  // sqrt(1 - beta2^t)
  float epsilon;
  float largest_gradient;
};

// Steps `count` elements; whether every gradient was within its bound and every weight is finite afterwards.
bool adamw_loop(float* weights, const float* gradients, float* first, float* second, std::int64_t count,
                const AdamWFactors& factors);
bool adamw_loop_bf16(float* weights, const float* gradients, std::uint16_t* first, std::uint16_t* second,
                     std::int64_t count, bool use_rounded, const AdamWFactors& factors);

}  // namespace lastbit::train

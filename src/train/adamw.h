// AdamW (Loshchilov and Hutter, arXiv 1711.05101) on FP32 master weights, its moments in FP32 or BF16.
//
// One element of step t, each operation rounded to FP32, constants computed in double and rounded once:
//   w = w (1 - rate decay)                     the decoupled decay first
//   m = RN(beta1 m) + RN((1 - beta1) g)        v = RN(beta2 v) + RN(RN((1 - beta2) g) g)
//   w = w - RN(RN(rate / (1 - beta1^t) m) / RN(RN(sqrt(v) / sqrt(1 - beta2^t)) + epsilon))
// the order of torch.optim.AdamW's single-tensor path. BF16 moments are rounded to nearest even when they are stored.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace lastbit::train {

// Which moments move the weights when they are stored in BF16 (in FP32 there is no difference).
enum class MomentUse : std::uint8_t {
  kRounded,    // "update_from_rounded": those that are stored
  kUnrounded,  // "update_from_unrounded": the FP32 values before they are rounded for the store
};
[[nodiscard]] MomentUse find_moment_use(std::string_view name);  // another name is bad input

struct AdamWRule {  // defaults: arXiv 2412.19437, section 4.2
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  MomentUse moment_use = MomentUse::kRounded;
};

// What one step has beside the rule.
struct AdamWStep {
  std::int64_t number = 1;  // t: the first step is 1
  double learning_rate = 0;
  double gradient_scale = 1;  // RN(g RN(scale)) stands for g: clip_factor() without a pass of its own
};

// A gradient beyond this in magnitude is refused: its square would overflow the second moment.
inline constexpr float kLargestGradient = 0x1p63F;

// One step in place; all arrays are as long as `weights`. One pass over memory, the same bits for every number of
// threads and instruction set.
// Errors (bad input): lengths that differ; a rule or step outside its range; a gradient (after scaling) that is not
// finite or beyond kLargestGradient; a weight that is not finite after the step. Of the last two the first element is
// named, and the arrays have been partly stepped: gradient_norm() refuses such gradients while all is whole.
void adamw_step(std::span<float> weights, std::span<const float> gradients, std::span<float> first_moments,
                std::span<float> second_moments, const AdamWRule& rule, const AdamWStep& step);
// BF16 codes.
void adamw_step(std::span<float> weights, std::span<const float> gradients, std::span<std::uint16_t> first_moments,
                std::span<std::uint16_t> second_moments, const AdamWRule& rule, const AdamWStep& step);

}  // namespace lastbit::train

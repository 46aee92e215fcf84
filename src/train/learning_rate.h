// Learning rates and batch sizes over a run. Values depend on the step (from 0) and the tokens seen before it alone.
//
// Every schedule warms up linearly: step s < warm_up_steps has peak * s / warm_up_steps, so step 0 has 0 when there is
// a warm-up. Cosines come from numerics/elementary.h: the same bits on every machine.
#pragma once

#include <cstdint>
#include <variant>

namespace lastbit::train {

// DeepSeek-V3 (arXiv 2412.19437, section 4.2): after the warm-up `peak` until constant_tokens have been seen, a cosine
// to `floor` over cosine_tokens, `floor` for floor_tokens, then `last`.
struct V3Schedule {
  std::int64_t warm_up_steps = 2000;
  double peak = 2.2e-4;
  double floor = 2.2e-5;
  double last = 7.3e-6;
  double constant_tokens = 10e12;
  double cosine_tokens = 4.3e12;
  double floor_tokens = 333e9;
  double last_tokens = 167e9;

  [[nodiscard]] double total_tokens() const { return constant_tokens + cosine_tokens + floor_tokens + last_tokens; }
};

// The same shape over another number of tokens: every stretch keeps its share. Warm-up is counted in steps, so its
// length is the caller's. Errors (bad input): a budget not above 0.
[[nodiscard]] V3Schedule scaled(V3Schedule schedule, double token_budget, std::int64_t warm_up_steps);

// DeepSeekMoE (arXiv 2401.06066, section 4.1.2; 16B as the defaults): times `factor` from first_decay of all steps on,
// and again from second_decay on.
struct StepDecaySchedule {
  std::int64_t warm_up_steps = 2000;
  std::int64_t total_steps = 106449;
  double peak = 4.2e-4;
  double factor = 0.316;
  double first_decay = 0.8;
  double second_decay = 0.9;
};

// From peak to floor over total_steps, the warm-up included (V3's fine-tuning: 5e-6 to 1e-6, section 5.1).
struct CosineSchedule {
  std::int64_t warm_up_steps = 0;
  std::int64_t total_steps = 0;
  double peak = 5e-6;
  double floor = 1e-6;
};

struct ConstantSchedule {
  std::int64_t warm_up_steps = 0;
  double peak = 7.3e-6;
};

using LearningRateSchedule = std::variant<V3Schedule, StepDecaySchedule, CosineSchedule, ConstantSchedule>;

// Beyond its end a schedule keeps its last value. Errors (bad input): a step or tokens below 0; a schedule with rates,
// steps or tokens below 0 or not finite, total_steps of 0 or within the warm-up, decays out of order.
[[nodiscard]] double learning_rate(const LearningRateSchedule& schedule, std::int64_t step, double tokens);

// DeepSeek-V3's batch in sequences: from `first` to `last`, linear in the tokens seen until ramp_tokens, then `last`
// (section 4.2 says "gradually"). Values are `first` plus a multiple of `multiple`, rounded down.
struct BatchRamp {
  std::int64_t first = 3072;
  std::int64_t last = 15360;
  double ramp_tokens = 469e9;
  std::int64_t multiple = 1;
};

// Errors (bad input): tokens below 0; first not in 1 .. last; a multiple that is not positive or does not divide
// last - first.
[[nodiscard]] std::int64_t batch_size(const BatchRamp& ramp, double tokens);

}  // namespace lastbit::train

#include "train/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <type_traits>

#include "core/error.h"
#include "numerics/elementary.h"

namespace lastbit::train {
namespace {

constexpr double kPi = 0x1.921fb54442d18p+1;

struct Quantity {
  const char* name;
  double value;
};

void require_not_negative(std::initializer_list<Quantity> quantities) {
  for (const auto& [name, value] : quantities)
    if (!(value >= 0) || !std::isfinite(value))
      core::fail_input("learning rate: {} is {}, expected a finite number of 0 or more", name, value);
}

void require_steps(std::int64_t total_steps, std::int64_t warm_up_steps) {
  if (total_steps < 1 || total_steps < warm_up_steps)
    core::fail_input("learning rate: total_steps is {}, expected 1 or more and no less than the {} of the warm-up",
                     total_steps, warm_up_steps);
}

// Half a cosine from `high` at progress 0 to `low` at 1 and beyond.
double cosine(double high, double low, double progress) {
  if (progress >= 1) return low;
  return low + (high - low) * 0.5 * (1 + numerics::cos(kPi * progress));
}

double after_warm_up(const V3Schedule& s, double /*step*/, double tokens) {
  require_not_negative({{"floor", s.floor},
                        {"last", s.last},
                        {"constant_tokens", s.constant_tokens},
                        {"cosine_tokens", s.cosine_tokens},
                        {"floor_tokens", s.floor_tokens},
                        {"last_tokens", s.last_tokens}});
  if (tokens < s.constant_tokens) return s.peak;
  const double since = tokens - s.constant_tokens;
  if (since < s.cosine_tokens) return cosine(s.peak, s.floor, since / s.cosine_tokens);
  return since < s.cosine_tokens + s.floor_tokens ? s.floor : s.last;
}

double after_warm_up(const StepDecaySchedule& s, double step, double /*tokens*/) {
  require_steps(s.total_steps, s.warm_up_steps);
  require_not_negative({{"factor", s.factor}, {"first_decay", s.first_decay}, {"second_decay", s.second_decay}});
  if (s.first_decay > s.second_decay)
    core::fail_input("learning rate: first_decay {} comes after second_decay {}", s.first_decay, s.second_decay);
  const auto total = static_cast<double>(s.total_steps);
  if (step < s.first_decay * total) return s.peak;
  return step < s.second_decay * total ? s.peak * s.factor : s.peak * s.factor * s.factor;
}

double after_warm_up(const CosineSchedule& s, double step, double /*tokens*/) {
  require_steps(s.total_steps, s.warm_up_steps);
  require_not_negative({{"floor", s.floor}});
  const auto stretch = static_cast<double>(s.total_steps - s.warm_up_steps);
  return stretch == 0 ? s.floor : cosine(s.peak, s.floor, (step - static_cast<double>(s.warm_up_steps)) / stretch);
}

double after_warm_up(const ConstantSchedule& s, double /*step*/, double /*tokens*/) { return s.peak; }

}  // namespace

V3Schedule scaled(V3Schedule schedule, double token_budget, std::int64_t warm_up_steps) {
  if (!(token_budget > 0) || !std::isfinite(token_budget))
    core::fail_input("learning rate: a budget of {} tokens, expected a finite number above 0", token_budget);
  const double total = schedule.total_tokens();
  if (!(total > 0)) core::fail_input("learning rate: a schedule over {} tokens cannot be scaled", total);
  const double ratio = token_budget / total;
  for (double* tokens :
       {&schedule.constant_tokens, &schedule.cosine_tokens, &schedule.floor_tokens, &schedule.last_tokens})
    *tokens *= ratio;
  schedule.warm_up_steps = warm_up_steps;
  return schedule;
}

double learning_rate(const LearningRateSchedule& schedule, std::int64_t step, double tokens) {
  require_not_negative({{"the step", static_cast<double>(step)}, {"tokens", tokens}});
  return std::visit(
      [&](const auto& s) {
        require_not_negative({{"warm_up_steps", static_cast<double>(s.warm_up_steps)}, {"peak", s.peak}});
        const double settled = after_warm_up(s, static_cast<double>(step), tokens);  // refuses a bad schedule at once
        if (step >= s.warm_up_steps) return settled;
        return s.peak * static_cast<double>(step) / static_cast<double>(s.warm_up_steps);
      },
      schedule);
}

std::int64_t batch_size(const BatchRamp& ramp, double tokens) {
  if (!(tokens >= 0)) core::fail_input("batch ramp: {} tokens seen, expected 0 or more", tokens);
  if (ramp.first < 1 || ramp.last < ramp.first)
    core::fail_input("batch ramp: from {} to {} sequences, expected 1 or more and no less", ramp.first, ramp.last);
  if (ramp.multiple < 1 || (ramp.last - ramp.first) % ramp.multiple != 0)
    core::fail_input("batch ramp: from {} to {} sequences in steps of {}, expected steps that lead there", ramp.first,
                     ramp.last, ramp.multiple);
  if (!(ramp.ramp_tokens >= 0) || !std::isfinite(ramp.ramp_tokens))
    core::fail_input("batch ramp: over {} tokens, expected 0 or more", ramp.ramp_tokens);
  if (tokens >= ramp.ramp_tokens) return ramp.last;
  const double raised = static_cast<double>(ramp.last - ramp.first) * (tokens / ramp.ramp_tokens);
  const auto multiples = static_cast<std::int64_t>(raised) / ramp.multiple;
  return ramp.first + multiples * ramp.multiple;
}

}  // namespace lastbit::train

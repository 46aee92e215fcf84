#include "train/adamw.h"

#include <atomic>
#include <cmath>
#include <string>

#include "core/error.h"
#include "core/parallel.h"
#include "numerics/elementary.h"
#include "numerics/parse.h"
#include "train/adamw_loop.h"

namespace lastbit::train {
namespace {

constexpr std::int64_t kGrain = 32768;  // elements: some 600 KB of all four arrays

void require(bool fine, const char* name, double value, const char* expected) {
  if (!fine) core::fail_input("AdamW: {} is {}, expected {}", name, value, expected);
}

AdamWFactors factors_of(const AdamWRule& rule, const AdamWStep& step) {
  require(rule.beta1 >= 0 && rule.beta1 < 1, "beta1", rule.beta1, "a number in [0, 1)");
  require(rule.beta2 >= 0 && rule.beta2 < 1, "beta2", rule.beta2, "a number in [0, 1)");
  // 0 would divide 0 by 0 where a gradient has always been 0.
  require(static_cast<float>(rule.epsilon) > 0 && rule.epsilon < 1, "epsilon", rule.epsilon, "a number in (0, 1)");
  require(rule.weight_decay >= 0 && std::isfinite(rule.weight_decay), "weight_decay", rule.weight_decay, "0 or more");
  require(step.learning_rate >= 0 && std::isfinite(step.learning_rate), "the learning rate", step.learning_rate,
          "0 or more");
  require(step.gradient_scale >= 0 && std::isfinite(step.gradient_scale), "the gradient's scale", step.gradient_scale,
          "0 or more");
  require(step.number >= 1, "the step's number", static_cast<double>(step.number), "1 or more");
  const auto t = static_cast<double>(step.number);
  const double first_correction = 1 - numerics::pow(rule.beta1, t);
  const double second_correction = 1 - numerics::pow(rule.beta2, t);
  return {static_cast<float>(step.gradient_scale),
          static_cast<float>(1 - step.learning_rate * rule.weight_decay),
          static_cast<float>(rule.beta1),
          static_cast<float>(1 - rule.beta1),
          static_cast<float>(rule.beta2),
          static_cast<float>(1 - rule.beta2),
          static_cast<float>(step.learning_rate / first_correction),
          static_cast<float>(std::sqrt(second_correction)),
          static_cast<float>(rule.epsilon),
          kLargestGradient};
}

// Says which element of a stepped range is at fault.
void fail_unsound(std::span<const float> weights, std::span<const float> gradients, float scale, std::int64_t begin) {
  for (auto i = static_cast<std::size_t>(begin); i < weights.size(); ++i) {
    if (!(std::abs(gradients[i] * scale) <= kLargestGradient))
      core::fail_input("AdamW: gradient {} is {} (times {}), expected a finite number of at most 2^63", i, gradients[i],
                       scale);
    if (!std::isfinite(weights[i]))
      core::fail_input("AdamW: weight {} is {} after the step, expected a finite number", i, weights[i]);
  }
  core::check(false, "an unsound range has an unsound element");
}

// loop(begin, count): steps a range and says whether it is sound.
template <typename Moment, typename Loop>
void step_with(std::span<float> weights, std::span<const float> gradients, std::span<Moment> first,
               std::span<Moment> second, float gradient_scale, const Loop& loop) {
  if (gradients.size() != weights.size() || first.size() != weights.size() || second.size() != weights.size())
    core::fail_input("AdamW: {} weights with {} gradients and {} and {} moments, expected as many", weights.size(),
                     gradients.size(), first.size(), second.size());
  const std::int64_t count = std::ssize(weights);
  std::atomic<std::int64_t> first_unsound{count};  // the least, whichever thread comes first
  core::parallel_for(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    if (loop(begin, end - begin)) return;
    std::int64_t known = first_unsound.load();
    while (begin < known && !first_unsound.compare_exchange_weak(known, begin)) {
    }
  });
  if (first_unsound < count) fail_unsound(weights, gradients, gradient_scale, first_unsound);
}

}  // namespace

MomentUse find_moment_use(std::string_view name) {
  return static_cast<MomentUse>(
      numerics::require_name("use of moments", name, {"update_from_rounded", "update_from_unrounded"}));
}

void adamw_step(std::span<float> weights, std::span<const float> gradients, std::span<float> first_moments,
                std::span<float> second_moments, const AdamWRule& rule, const AdamWStep& step) {
  const AdamWFactors factors = factors_of(rule, step);
  step_with(weights, gradients, first_moments, second_moments, factors.gradient_scale,
            [&](std::int64_t begin, std::int64_t count) {
              return adamw_loop(weights.data() + begin, gradients.data() + begin, first_moments.data() + begin,
                                second_moments.data() + begin, count, factors);
            });
}

void adamw_step(std::span<float> weights, std::span<const float> gradients, std::span<std::uint16_t> first_moments,
                std::span<std::uint16_t> second_moments, const AdamWRule& rule, const AdamWStep& step) {
  const AdamWFactors factors = factors_of(rule, step);
  step_with(weights, gradients, first_moments, second_moments, factors.gradient_scale,
            [&](std::int64_t begin, std::int64_t count) {
              return adamw_loop_bf16(weights.data() + begin, gradients.data() + begin, first_moments.data() + begin,
                                     second_moments.data() + begin, count, rule.moment_use == MomentUse::kRounded,
                                     factors);
            });
}

}  // namespace lastbit::train

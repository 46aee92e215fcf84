#include "train/adamw.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "numerics/format.h"
#include "numerics/vector_target.h"
#include "train/gradient_clip.h"

namespace lastbit::train {
namespace {

std::vector<float> drawn(std::size_t count, const std::string& name, float scale = 1) {
  const core::RandomStream stream(3, name);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = scale * (2 * stream.uniform(i) - 1) * std::ldexp(1.0F, -static_cast<int>(i % 13));
  return values;
}

struct Fp32State {
  using Moment = float;
  static float value(float moment) { return moment; }
  static float stored(float value) { return value; }
};
struct Bf16State {
  using Moment = std::uint16_t;
  static float value(std::uint16_t code) { return numerics::decode(code, numerics::Format::kBF16); }
  static std::uint16_t stored(float value) {
    return static_cast<std::uint16_t>(
        numerics::encode(value, numerics::Format::kBF16, {numerics::Rounding::kNearestEven}));
  }
};

template <typename State>
struct Optimiser {
  std::vector<float> weights;
  std::vector<typename State::Moment> first = std::vector<typename State::Moment>(weights.size());
  std::vector<typename State::Moment> second = std::vector<typename State::Moment>(weights.size());

  void step(std::span<const float> gradients, const AdamWRule& rule, const AdamWStep& step) {
    adamw_step(std::span(weights), gradients, std::span(first), std::span(second), rule, step);
  }
  bool operator==(const Optimiser&) const = default;
};

// The sentences of the header, one element after the other.
template <typename State>
void plain_step(Optimiser<State>& o, const std::vector<float>& gradients, const AdamWRule& rule,
                const AdamWStep& step) {
  const auto f = [](double x) { return static_cast<float>(x); };
  const double t = static_cast<double>(step.number);
  const double first_correction = 1 - std::pow(rule.beta1, t);
  const double second_correction = 1 - std::pow(rule.beta2, t);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const float g = gradients[i] * f(step.gradient_scale);
    float w = o.weights[i] * f(1 - step.learning_rate * rule.weight_decay);
    float m = f(rule.beta1) * State::value(o.first[i]) + f(1 - rule.beta1) * g;
    float v = f(rule.beta2) * State::value(o.second[i]) + f(1 - rule.beta2) * g * g;
    o.first[i] = State::stored(m);
    o.second[i] = State::stored(v);
    if (rule.moment_use == MomentUse::kRounded) {
      m = State::value(o.first[i]);
      v = State::value(o.second[i]);
    }
    const float spread = std::sqrt(v) / f(std::sqrt(second_correction)) + f(rule.epsilon);
    w -= f(step.learning_rate / first_correction) * m / spread;
    o.weights[i] = w;
  }
}

template <typename State>
void expect_plain_bits() {
  for (const std::string& target : numerics::vector_targets()) {
    numerics::use_vector_target(target);
    for (const MomentUse use : {MomentUse::kRounded, MomentUse::kUnrounded})
      for (const std::size_t count : {0UL, 1UL, 7UL, 8UL, 17UL, 33UL, 70001UL}) {
        AdamWRule rule;
        rule.moment_use = use;
        Optimiser<State> ours{drawn(count, "w")};
        Optimiser<State> plain = ours;
        for (std::int64_t t = 1; t <= 5; ++t) {
          const std::vector<float> gradients = drawn(count, "g" + std::to_string(t), 4);
          const AdamWStep step{t, 1e-3, 0.75};
          ours.step(gradients, rule, step);
          plain_step(plain, gradients, rule, step);
        }
        ASSERT_TRUE(ours == plain) << target << " " << count;
      }
  }
  numerics::use_vector_target("");
}

TEST(AdamW, Fp32MomentsOnEveryInstructionSet) { expect_plain_bits<Fp32State>(); }
TEST(AdamW, Bf16MomentsOnEveryInstructionSet) { expect_plain_bits<Bf16State>(); }

TEST(AdamW, ThreadsDoNotMatter) {
  std::vector<Optimiser<Bf16State>> results;
  for (const int threads : {1, 3}) {
    core::set_num_threads(threads);
    results.push_back({drawn(200003, "w")});
    results.back().step(drawn(200003, "g"), {}, {1, 1e-3});
  }
  core::set_num_threads(0);
  EXPECT_TRUE(results[0] == results[1]);
}

TEST(AdamW, TheFirstStepGoesByTheLearningRateAgainstTheSign) {
  Optimiser<Fp32State> o{{1.0F, -2.0F, 0.5F}};
  AdamWRule rule;
  rule.weight_decay = 0;
  o.step(std::vector<float>{0.25F, -8.0F, 0.0F}, rule, {1, 0x1p-10});
  EXPECT_NEAR(o.weights[0], 1 - 0x1p-10, 1e-7);  // epsilon / |g| is 4e-8 of the step
  EXPECT_NEAR(o.weights[1], -2 + 0x1p-10, 2e-7);
  EXPECT_EQ(o.weights[2], 0.5F);
}

TEST(AdamW, DecayIsDecoupledFromTheGradient) {
  Optimiser<Fp32State> o{{1.0F, -2.0F}};
  AdamWRule rule;
  rule.weight_decay = 0.5;
  o.step(std::vector<float>{0.0F, 0.0F}, rule, {1, 0.5});
  EXPECT_EQ(o.weights, (std::vector<float>{0.75F, -1.5F}));
}

TEST(AdamW, ItsOwnScaleIsClippingFirst) {
  std::vector<float> gradients = drawn(3001, "g", 4);
  const std::vector<std::span<const float>> arrays{gradients};
  const double factor = clip_factor(gradient_norm<float>(arrays), 1.0);
  ASSERT_LT(factor, 1);
  Optimiser<Bf16State> scaled{drawn(3001, "w")};
  Optimiser<Bf16State> clipped = scaled;
  scaled.step(gradients, {}, {1, 1e-3, factor});
  const std::vector<std::span<float>> writable{gradients};
  (void)clip_gradients<float>(writable, 1.0);
  clipped.step(gradients, {}, {1, 1e-3});
  EXPECT_TRUE(scaled == clipped);
}

// The message of the error that a step ends in.
std::string refusal(std::vector<float> gradients, const AdamWRule& rule, const AdamWStep& step,
                    std::vector<float> weights = {}) {
  if (weights.empty()) weights.assign(gradients.size(), 1.0F);
  Optimiser<Bf16State> o{std::move(weights)};
  try {
    o.step(gradients, rule, step);
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    return error.what();
  }
  return "";
}

TEST(AdamW, NamesTheFirstGradientThatIsNoNumber) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -0x1.1p63F})
    for (const std::size_t place : {0UL, 5UL, 8UL, 99998UL, 99999UL}) {
      std::vector<float> gradients(100000, 0.5F);
      gradients[place] = bad;
      gradients.back() = bad;
      const std::string message = refusal(gradients, {}, {1, 1e-3});
      EXPECT_TRUE(message.starts_with("AdamW: gradient " + std::to_string(place) + " is ")) << message;
    }
  EXPECT_EQ(refusal({0x1p63F, -0x1p63F}, {}, {1, 1e-3}), "");
}

TEST(AdamW, NamesAWeightThatIsNoNumber) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(refusal({1, 1, 1}, {}, {1, 1e-3}, {1, nan, 1}),
            "AdamW: weight 1 is nan after the step, expected a finite number");
}

TEST(AdamW, RefusesRulesOutsideTheirRange) {
  const std::vector<float> g{1};
  const auto with = [](auto member, double value) {
    AdamWRule rule;
    rule.*member = value;
    return rule;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double value : {-0.1, 1.0, nan}) {
    EXPECT_NE(refusal(g, with(&AdamWRule::beta1, value), {1, 1e-3}), "");
    EXPECT_NE(refusal(g, with(&AdamWRule::beta2, value), {1, 1e-3}), "");
  }
  for (const double value : {0.0, -1e-8, 1e-60, nan})
    EXPECT_NE(refusal(g, with(&AdamWRule::epsilon, value), {1, 1e-3}), "");
  EXPECT_NE(refusal(g, with(&AdamWRule::weight_decay, -1), {1, 1e-3}), "");
  EXPECT_NE(refusal(g, {}, {0, 1e-3}), "");
  EXPECT_NE(refusal(g, {}, {1, -1e-3}), "");
  EXPECT_NE(refusal(g, {}, {1, nan}), "");
  EXPECT_NE(refusal(g, {}, {1, 1e-3, nan}), "");
  EXPECT_NE(refusal(g, {}, {1, 1e-3}, {1, 2}), "") << "a weight without a gradient";
  EXPECT_EQ(refusal(g, with(&AdamWRule::beta1, 0), {1, 1e-3}), "");
}

TEST(AdamW, UsesOfMomentsByName) {
  EXPECT_EQ(find_moment_use("update_from_rounded"), MomentUse::kRounded);
  EXPECT_EQ(find_moment_use("update_from_unrounded"), MomentUse::kUnrounded);
  EXPECT_THROW((void)find_moment_use("rounded"), core::Error);
}

}  // namespace
}  // namespace lastbit::train

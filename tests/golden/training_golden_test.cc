// AdamW, clipping, the learning rate and GRPO against losses.{json,safetensors}, which independent implementations
// made.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/json.h"
#include "io/safetensors.h"
#include "numerics/format.h"
#include "support/shared.h"
#include "train/adamw.h"
#include "train/gradient_clip.h"
#include "train/grpo.h"
#include "train/learning_rate.h"

namespace lastbit::train {
namespace {

using tensor::Tensor;

io::SafetensorsFile golden_arrays() {
  return io::SafetensorsFile::open(testing::shared_path("golden/model/losses.safetensors"));
}

nlohmann::json golden_parameters(const std::string& key) {
  return io::load_json(testing::shared_path("golden/model/losses.json")).at(key);
}

void expect_bits(std::span<const float> ours, std::span<const float> golden, const std::string& name) {
  ASSERT_EQ(ours.size(), golden.size()) << name;
  for (std::size_t i = 0; i < ours.size(); ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(ours[i]), std::bit_cast<std::uint32_t>(golden[i])) << name << " " << i;
}

struct AdamWGolden {
  io::SafetensorsFile file = golden_arrays();
  AdamWRule rule;
  double learning_rate = 0;
  std::vector<float> weights;
  Tensor gradients = file.tensor("adamw.grads");  // [steps, elements]

  AdamWGolden() {
    const nlohmann::json parameters = golden_parameters("adamw");
    rule = {parameters.at("beta1"), parameters.at("beta2"), parameters.at("eps"), parameters.at("weight_decay")};
    learning_rate = parameters.at("lr");
    const Tensor start = file.tensor("adamw.w0");
    weights.assign(start.values<float>().begin(), start.values<float>().end());
  }

  // Steps and compares the weights after each.
  template <typename Moment>
  void run(std::vector<Moment>& first, std::vector<Moment>& second, const std::string& trace) {
    const Tensor expected = file.tensor(trace);
    for (std::int64_t t = 0; t < gradients.dim(0); ++t) {
      const Tensor gradient = gradients.slice(0, t, t + 1).contiguous();
      adamw_step(std::span(weights), gradient.values<float>(), std::span(first), std::span(second), rule,
                 {t + 1, learning_rate});
      expect_bits(weights, expected.slice(0, t, t + 1).contiguous().values<float>(), trace);
    }
  }
};

TEST(AdamWGolden, Fp32MomentsBitForBit) {
  LASTBIT_NEEDS_SHARED();
  // torch.optim.AdamW itself, and the same formulas elsewhere; its moments are of the latter.
  for (const std::string trace : {"adamw.fp32_moments.w", "adamw.torch_fp32.w"}) {
    AdamWGolden golden;
    std::vector<float> first(golden.weights.size());
    std::vector<float> second(golden.weights.size());
    golden.run(first, second, trace);
    expect_bits(first, golden.file.tensor("adamw.fp32_moments.m").values<float>(), "m");
    expect_bits(second, golden.file.tensor("adamw.fp32_moments.v").values<float>(), "v");
  }
}

TEST(AdamWGolden, Bf16MomentsBitForBit) {
  LASTBIT_NEEDS_SHARED();
  for (const std::string habit : {"update_from_rounded", "update_from_unrounded"}) {
    AdamWGolden golden;
    golden.rule.moment_use = find_moment_use(habit);
    std::vector<std::uint16_t> first(golden.weights.size());
    std::vector<std::uint16_t> second(golden.weights.size());
    golden.run(first, second, "adamw." + habit + ".w");
    const auto decoded = [](const std::vector<std::uint16_t>& codes) {
      std::vector<float> values;
      for (const std::uint16_t code : codes) values.push_back(numerics::decode(code, numerics::Format::kBF16));
      return values;
    };
    expect_bits(decoded(first), golden.file.tensor("adamw." + habit + ".m").values<float>(), habit + " m");
    expect_bits(decoded(second), golden.file.tensor("adamw." + habit + ".v").values<float>(), habit + " v");
  }
}

// The golden norm and result are FP64's of the first step's FP32 gradients.
TEST(ClipGolden, NormAndScaledGradients) {
  LASTBIT_NEEDS_SHARED();
  const io::SafetensorsFile file = golden_arrays();
  const Tensor gradients = file.tensor("adamw.grads").slice(0, 0, 1).contiguous();
  const double norm = file.tensor("clip.norm").values<double>()[0];
  const Tensor expected = file.tensor("clip.out");
  std::vector<float> single(gradients.values<float>().begin(), gradients.values<float>().end());
  std::vector<double> twice(single.begin(), single.end());
  const std::vector<std::span<float>> single_arrays{single};
  const std::vector<std::span<double>> double_arrays{twice};
  // 64 squares added in another order: 1e-15 of the sum.
  EXPECT_NEAR(clip_gradients<float>(single_arrays, 1.0) / norm, 1, 1e-15);
  EXPECT_NEAR(clip_gradients<double>(double_arrays, 1.0) / norm, 1, 1e-15);
  ASSERT_EQ(expected.size(), std::ssize(twice));
  for (std::size_t i = 0; i < twice.size(); ++i) {
    const double value = expected.values<double>()[i];
    EXPECT_NEAR(twice[i], value, 1e-15 * std::abs(value));
    EXPECT_NEAR(static_cast<double>(single[i]), value, 0x1p-23 * std::abs(value));  // factor and product rounded
  }
}

TEST(LearningRateGolden, V3) {
  LASTBIT_NEEDS_SHARED();
  const nlohmann::json cases = golden_parameters("lr_v3");
  ASSERT_EQ(cases.size(), 9u);
  for (const nlohmann::json& c : cases) {
    const double expected = c.at("lr");
    EXPECT_NEAR(learning_rate(V3Schedule{}, c.at("step"), c.at("tokens")), expected, 1e-15 * expected) << c;
  }
}

class GrpoGolden : public ::testing::TestWithParam<const char*> {};

struct GrpoCase {
  io::SafetensorsFile file = golden_arrays();
  nlohmann::json parameters = golden_parameters("grpo");
  GrpoOutputs outputs;
  Tensor logits = file.tensor("grpo.logits");

  GrpoCase() {
    outputs.tokens = file.tensor("grpo.tokens");
    const Tensor lengths = file.tensor("grpo.lens");
    outputs.lengths.assign(lengths.values<std::int64_t>().begin(), lengths.values<std::int64_t>().end());
  }
};

// Largest difference over valid positions; elsewhere ours is 0 and the golden's may be anything.
double worst(std::span<const double> ours, std::span<const double> golden, const GrpoCase& c) {
  EXPECT_EQ(ours.size(), golden.size());
  const auto positions = static_cast<std::size_t>(c.logits.dim(1));
  const std::size_t width = ours.size() / (c.outputs.lengths.size() * positions);
  double largest = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const std::size_t row = i / width;
    if (static_cast<std::int64_t>(row % positions) < c.outputs.lengths[row / positions])
      largest = std::max(largest, std::abs(ours[i] - golden[i]));
    else
      EXPECT_EQ(ours[i], 0);
  }
  return largest;
}

constexpr double kFp64 = 1e-14;  // values of order 1, some ten roundings

TEST(GrpoGoldenInputs, LogProbabilitiesOfAllThreePolicies) {
  LASTBIT_NEEDS_SHARED();
  const GrpoCase c;
  for (const auto& [logits, expected] : {std::pair{"grpo.logits", "grpo.logp"},
                                         {"grpo.logits_old", "grpo.logp_old"},
                                         {"grpo.logits_ref", "grpo.logp_ref"}})
    EXPECT_LT(worst(token_log_probabilities(c.file.tensor(logits), c.outputs).values<double>(),
                    c.file.tensor(expected).values<double>(), c),
              kFp64)
        << expected;
}

TEST_P(GrpoGolden, AdvantagesLossesAndGradients) {
  LASTBIT_NEEDS_SHARED();
  const std::string deviation = GetParam();
  const std::string prefix = "grpo." + deviation + ".";
  const GrpoCase c;
  const Tensor rewards = c.file.tensor("grpo.rewards");
  const std::vector<double> advantages = group_advantages(rewards.values<double>(), find_group_deviation(deviation));
  const Tensor expected_advantages = c.file.tensor(prefix + "adv");
  for (std::size_t i = 0; i < advantages.size(); ++i)
    EXPECT_NEAR(advantages[i], expected_advantages.values<double>()[i], kFp64);
  for (const std::string reading : {"token", "seq", "tokmean"}) {
    const GrpoRule rule{find_grpo_reading(reading), c.parameters.at("eps"), c.parameters.at("beta")};
    const GrpoLoss ours = grpo_loss(c.logits, c.file.tensor("grpo.logp_old"), c.file.tensor("grpo.logp_ref"),
                                    advantages, c.outputs, rule);
    EXPECT_NEAR(ours.loss, c.file.tensor(prefix + reading + ".loss").values<double>()[0], kFp64) << reading;
    if (reading == "tokmean") continue;  // the golden file has its loss alone
    EXPECT_LT(
        worst(ours.gradient.values<double>(), c.file.tensor(prefix + reading + ".grad_logits").values<double>(), c),
        kFp64)
        << reading;
    if (reading == "token") {
      EXPECT_LT(worst(ours.k3, c.file.tensor(prefix + "token.k3").values<double>(), c), kFp64);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Deviations, GrpoGolden, ::testing::Values("popstd", "sampstd"),
                         [](const auto& deviation) { return std::string(deviation.param); });

}  // namespace
}  // namespace lastbit::train

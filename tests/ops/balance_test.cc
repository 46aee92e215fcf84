#include "ops/balance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "random_tensor.h"
#include "routing_gradient.h"

namespace lastbit::ops {
namespace {

using tensor::Tensor;

Tensor indices(tensor::Shape shape, const std::vector<std::int64_t>& values) {
  return Tensor::from<std::int64_t>(std::move(shape), values);
}

struct Shape {
  std::int64_t sequences;
  std::int64_t length;
  std::int64_t experts;
  std::int64_t devices;
  std::int64_t top_k;
};

const std::vector<Shape> kShapes = {
    {1, 1, 1, 1, 1}, {1, 5, 4, 2, 1}, {3, 4, 6, 3, 2}, {2, 7, 8, 8, 3}, {0, 0, 4, 2, 1}};

// The choice is an argument, and so constant; the first choices of GShard and Switch are further apart than a step.
TEST(Balance, GradientsAgreeWithCentralDifferences) {
  for (const Shape& s : kShapes)
    for (const Affinity affinity : {Affinity::kSigmoid, Affinity::kSoftmax}) {
      const std::string label = std::to_string(s.length) + " of " + std::to_string(s.experts);
      const std::int64_t tokens = s.sequences * s.length;
      const Tensor logits = random_fp64("logits " + label, {tokens, s.experts}, 2);
      const Tensor choice = unbiased_choice(random_fp64("choice", {tokens, s.experts}), Affinity::kSoftmax, s.top_k);
      const auto check = [&](const std::function<BalanceLoss(const Tensor&)>& loss, const std::string& name) {
        expect_gradient(
            logits, loss(logits).dlogits, [&](const Tensor& x) { return loss(x).loss; }, name + " " + label);
      };
      const auto input = [&](const Tensor& x, std::int64_t length) {
        return BalanceInput{x, choice, affinity, 1.5, length};
      };
      check([&](const Tensor& x) { return expert_balance_loss(input(x, s.length)); }, "sequence-wise");
      check([&](const Tensor& x) { return expert_balance_loss(input(x, 0)); }, "batch-wise");
      check([&](const Tensor& x) { return device_balance_loss(input(x, 0), s.devices); }, "device");
      check([&](const Tensor& x) { return communication_balance_loss(input(x, s.length), s.devices, 1); }, "comm");
      check([](const Tensor& x) { return gshard_loss(x, 2); }, "GShard");
      check([&](const Tensor& x) { return gshard_loss(x, 2, s.length); }, "GShard, in groups");
      check([](const Tensor& x) { return switch_loss(x, 2); }, "Switch");
      check([](const Tensor& x) { return router_z_loss(x, 0.3); }, "z");
    }
}

TEST(Balance, SharedLogitsShareInTheSoftmaxAlone) {
  const Tensor logits = random_fp64("logits", {6, 5}, 2);
  const Tensor choice = unbiased_choice(logits, Affinity::kSoftmax, 1, 2);
  const auto loss = [&](const Tensor& x) { return expert_balance_loss({x, choice, Affinity::kSoftmax, 1, 0, 2}); };
  expect_gradient(
      logits, loss(logits).dlogits, [&](const Tensor& x) { return loss(x).loss; }, "shared");
  EXPECT_EQ(loss(logits).p.shape(), (tensor::Shape{1, 3}));
}

// Even affinities and even counts: every f is 1, every P is 1 / N, the loss alpha, whatever the loss.
TEST(Balance, EvenLoadsCostAlpha) {
  const Tensor logits = Tensor::zeros(tensor::DType::kF64, {8, 4});
  const Tensor choice = indices({8, 1}, {0, 1, 2, 3, 3, 2, 1, 0});
  for (const Affinity affinity : {Affinity::kSigmoid, Affinity::kSoftmax}) {
    const BalanceInput input{logits, choice, affinity, 0.25, 4};
    EXPECT_NEAR(expert_balance_loss(input).loss, 0.25, 1e-15);
    EXPECT_NEAR(device_balance_loss(input, 2).loss, 0.25, 1e-15);
    EXPECT_NEAR(communication_balance_loss(input, 2, 1).loss, 0.25, 1e-15);
  }
}

// All tokens on expert 0: f = [N, 0, ...], so the sequence's loss is alpha N P_0.
TEST(Balance, OneExpertForAllCostsNTimesItsShare) {
  const Tensor logits = Tensor::from<double>({2, 2}, std::vector<double>{std::log(3), 0, std::log(3), 0});
  const Tensor choice = indices({2, 1}, {0, 0});
  EXPECT_NEAR(expert_balance_loss({logits, choice, Affinity::kSoftmax}).loss, 2 * 0.75, 1e-15);
  EXPECT_NEAR(switch_loss(logits, 0.01).loss, 0.01 * 2 * 0.75, 1e-16);
  EXPECT_NEAR(gshard_loss(logits, 1).loss, 0.5 * 0.75, 1e-15);
  EXPECT_NEAR(router_z_loss(logits, 1).loss, std::pow(std::log(4), 2), 1e-15);
}

TEST(Balance, UnusedSlotsAreNotCountedAndADeviceCountsATokenOnce) {
  const Tensor logits = Tensor::zeros(tensor::DType::kF64, {2, 4});
  const Tensor choice = indices({2, 3}, {0, 1, 2, 3, -1, -1});
  const BalanceInput input{logits, choice};
  const BalanceLoss expert = expert_balance_loss(input);
  for (const double f : expert.f.values<double>()) EXPECT_NEAR(f, 4.0 / 6, 1e-15);
  const BalanceLoss sent = communication_balance_loss(input, 2, 1);
  EXPECT_EQ(sent.f.values<double>()[0], 2.0 / 2 * 1);
  EXPECT_EQ(sent.f.values<double>()[1], 2.0 / 2 * 2);
}

TEST(Balance, Fp32AgreesWithFp64) {
  const Tensor logits = random_tensor("logits", {12, 6});
  const auto values = logits.values<float>();
  const Tensor wide = Tensor::from<double>({12, 6}, std::vector<double>(values.begin(), values.end()));
  const Tensor choice = unbiased_choice(logits, Affinity::kSigmoid, 2);
  const BalanceLoss narrow = expert_balance_loss({logits, choice, Affinity::kSigmoid, 1, 4});
  const BalanceLoss exact = expert_balance_loss({wide, choice, Affinity::kSigmoid, 1, 4});
  ASSERT_EQ(narrow.dlogits.dtype(), tensor::DType::kF32);
  EXPECT_NEAR(narrow.loss, exact.loss, 1e-6);
  for (std::size_t i = 0; i < 72; ++i)  // a dozen roundings of 2^-24 of values below 0.1
    EXPECT_NEAR(static_cast<double>(narrow.dlogits.values<float>()[i]), exact.dlogits.values<double>()[i], 1e-7);
}

TEST(Balance, RefusesWhatDoesNotFit) {
  const Tensor logits = Tensor::zeros(tensor::DType::kF64, {4, 4});
  const Tensor choice = indices({4, 1}, {0, 1, 2, 4});
  EXPECT_THROW(static_cast<void>(expert_balance_loss({logits, choice})), core::Error);
  const Tensor good = indices({4, 1}, {0, 1, 2, 3});
  EXPECT_THROW(static_cast<void>(expert_balance_loss({logits, good, Affinity::kSoftmax, 1, 3})), core::Error);
  EXPECT_THROW(static_cast<void>(device_balance_loss({logits, good}, 3)), core::Error);
  const Tensor bad = Tensor::from<double>({1, 2}, std::vector<double>{0, std::nan("")});
  EXPECT_THROW(static_cast<void>(router_z_loss(bad, 1)), core::Error);
}

}  // namespace
}  // namespace lastbit::ops

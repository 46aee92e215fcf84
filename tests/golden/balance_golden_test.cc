// Balance losses, capacities and bias updates against FP64 vectors computed independently (golden/model/losses), and
// the auxiliary loss of the DeepSeekMoE release.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "ops/balance.h"
#include "ops/bias_update.h"
#include "ops/load_metrics.h"
#include "ops/router.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using ops::Affinity;
using tensor::Tensor;

io::SafetensorsFile losses() {
  return io::SafetensorsFile::open(testing::shared_path("golden/model/losses.safetensors"));
}

// [B, T, N] -> [B T, N].
Tensor rows(const Tensor& x) { return x.reshape({x.size() / x.dim(-1), x.dim(-1)}); }

// Within 1e-12 of the largest entry: a few hundred roundings of 2^-53.
void expect_near(const Tensor& ours, const Tensor& expected, const std::string& what) {
  ASSERT_EQ(ours.size(), expected.size()) << what;
  const auto x = ours.values<double>();
  const auto y = expected.values<double>();
  double largest = 0;
  for (const double value : y) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(x[i], y[i], 1e-12 * largest) << what << " at " << i;
}

void expect_loss(const ops::BalanceLoss& ours, const std::string& name) {
  const double expected = losses().tensor(name + ".loss").values<double>()[0];
  EXPECT_NEAR(ours.loss, expected, 1e-12 * expected) << name;
  expect_near(ours.dlogits, losses().tensor(name + ".grad_logits"), name);
}

TEST(BalanceGolden, V3SequenceWise) {
  LASTBIT_NEEDS_SHARED();
  const Tensor logits = rows(losses().tensor("seqbal.logits"));
  const Tensor bias = losses().tensor("seqbal.bias");
  ops::RouterRule rule;
  rule.top_k = 2;
  const Tensor raw = ops::unbiased_choice(logits, Affinity::kSigmoid, 2);
  const Tensor biased = ops::route(logits, &bias, rule).chosen;
  for (const auto& [name, choice] : {std::pair{"seqbal.raw", raw}, {"seqbal.biased", biased}}) {
    const ops::BalanceLoss loss = ops::expert_balance_loss({logits, choice, Affinity::kSigmoid, 1e-4, 12});
    expect_loss(loss, name);
    expect_near(loss.f, losses().tensor(std::string(name) + ".f"), "f");
    expect_near(loss.p, losses().tensor("seqbal.P"), "P");
    for (std::int64_t s = 0; s < 2; ++s) {  // a sequence alone
      const ops::BalanceLoss one =
          ops::expert_balance_loss({logits.slice(0, 12 * s, 12 * (s + 1)).contiguous(),
                                    choice.slice(0, 12 * s, 12 * (s + 1)).contiguous(), Affinity::kSigmoid, 1e-4});
      const double expected =
          losses().tensor(std::string(name) + ".per_seq").values<double>()[static_cast<std::size_t>(s)];
      EXPECT_NEAR(one.loss, expected, 1e-12 * expected);
    }
  }
}

TEST(BalanceGolden, DeepSeekMoEAndV2) {
  LASTBIT_NEEDS_SHARED();
  const Tensor logits = losses().tensor("moe1.logits");
  const Tensor choice = ops::unbiased_choice(logits, Affinity::kSoftmax, 3);
  const ops::BalanceLoss expert = ops::expert_balance_loss({logits, choice, Affinity::kSoftmax, 0.01});
  expect_loss(expert, "moe1.expert");
  expect_near(expert.f, losses().tensor("moe1.f"), "f");
  expect_near(expert.p, losses().tensor("moe1.P"), "P");
  const ops::BalanceLoss device = ops::device_balance_loss({logits, choice, Affinity::kSoftmax, 0.05}, 3);
  expect_loss(device, "moe1.device");
  expect_near(device.f, losses().tensor("moe1.f_device"), "f'");
  expect_near(device.p, losses().tensor("moe1.P_device"), "P'");

  ops::RouterRule limited;
  limited.affinity = Affinity::kSoftmax;
  limited.group_rank = ops::GroupRank::kMax;
  limited.groups = 3;
  limited.kept_groups = 2;
  limited.top_k = 3;
  limited.normalise = false;
  const Tensor sent = ops::route(logits, nullptr, limited).chosen;
  const auto expected = losses().tensor("moe1.topk_idx_limited");
  EXPECT_TRUE(std::ranges::equal(sent.values<std::int64_t>(), expected.values<std::int64_t>()));
  const ops::BalanceLoss comm = ops::communication_balance_loss({logits, sent, Affinity::kSoftmax, 0.02}, 3, 2);
  expect_loss(comm, "moe1.comm");
  expect_near(comm.f, losses().tensor("moe1.f_comm"), "f''");
}

TEST(BalanceGolden, GShardSwitchAndZ) {
  LASTBIT_NEEDS_SHARED();
  const Tensor logits = losses().tensor("gs.logits");
  expect_loss(ops::gshard_loss(logits, 1), "gshard");
  expect_loss(ops::switch_loss(logits, 0.01), "switch");
  expect_loss(ops::router_z_loss(logits, 1e-3), "zloss");
}

TEST(BalanceGolden, SwitchCapacity) {
  LASTBIT_NEEDS_SHARED();
  ops::RouterRule rule;
  rule.affinity = Affinity::kSoftmax;
  rule.normalise = false;
  rule.capacity_factor = 1;
  const ops::Routing routing = ops::route(losses().tensor("gs.logits"), nullptr, rule);
  const Tensor top1 = losses().tensor("switch.top1");
  const Tensor keep = losses().tensor("switch.keep");
  std::int64_t dropped = 0;
  for (std::size_t t = 0; t < 16; ++t) {
    const bool kept = keep.values<std::int64_t>()[t] != 0;
    dropped += kept ? 0 : 1;
    EXPECT_EQ(routing.chosen.values<std::int64_t>()[t], top1.values<std::int64_t>()[t]) << t;
    EXPECT_EQ(routing.experts.values<std::int64_t>()[t], kept ? top1.values<std::int64_t>()[t] : -1) << t;
  }
  EXPECT_EQ(ops::expert_capacity(1, 1, 16, 4), 4);
  EXPECT_EQ(ops::expert_capacity(1, 2, 16, 4), 8);
  EXPECT_GT(dropped, 0);
  EXPECT_EQ(routing.dropped, dropped);
}

// The golden rows list the first choice first, with weights renormalised over the two, and say which were kept.
TEST(BalanceGolden, GShardTopTwoAndCapacity) {
  LASTBIT_NEEDS_SHARED();
  ops::RouterRule rule;
  rule.affinity = Affinity::kSoftmax;
  rule.top_k = 2;
  rule.capacity_factor = 1;
  const ops::Routing routing = ops::route(losses().tensor("gs.logits"), nullptr, rule);
  const auto golden_experts = losses().tensor("gshard.top2_idx");
  const auto golden_weights = losses().tensor("gshard.top2_weight");
  const auto golden_kept = losses().tensor("gshard.top2_kept");
  const auto experts = routing.experts.values<std::int64_t>();
  for (std::size_t t = 0; t < 16; ++t) {
    std::size_t used = 0;
    for (std::size_t place = 2 * t; place < 2 * t + 2; ++place) {
      if (golden_kept.values<std::int64_t>()[place] == 0) continue;
      ++used;
      const std::int64_t expert = golden_experts.values<std::int64_t>()[place];
      const std::size_t slot = experts[2 * t] == expert ? 2 * t : 2 * t + 1;
      ASSERT_EQ(experts[slot], expert) << t;
      EXPECT_NEAR(routing.weights.values<double>()[slot], golden_weights.values<double>()[place], 1e-12) << t;
    }
    EXPECT_EQ(std::count_if(experts.begin() + static_cast<std::ptrdiff_t>(2 * t),
                            experts.begin() + static_cast<std::ptrdiff_t>(2 * t + 2), [](auto e) { return e >= 0; }),
              static_cast<std::ptrdiff_t>(used))
        << t;
  }
}

TEST(BalanceGolden, BiasUpdates) {
  LASTBIT_NEEDS_SHARED();
  const Tensor logits = losses().tensor("bias.logits");
  const Tensor trace = losses().tensor("bias.trace");
  const Tensor load = losses().tensor("bias.load");
  ops::RouterRule rule;
  rule.top_k = 2;
  Tensor bias = trace.slice(0, 0, 1).clone().reshape({8});
  for (std::int64_t step = 0; step < 6; ++step) {
    const ops::Routing routing = ops::route(rows(logits.slice(0, step, step + 1).clone()), &bias, rule);
    const std::vector<std::int64_t> counts = ops::expert_load(routing.chosen, 8);
    for (std::size_t e = 0; e < 8; ++e)
      EXPECT_EQ(static_cast<double>(counts[e]), load.values<double>()[static_cast<std::size_t>(step) * 8 + e]) << step;
    ops::update_bias(bias, counts, 0.001);
    expect_near(bias, trace.slice(0, step + 1, step + 2).clone(), "bias");
  }
}

// seq_aux with aux_loss_alpha 0.05, two sequences of 20 tokens. The release computes in FP32: its softmax and two means
// round at 2^-24, some ten times.
TEST(BalanceGolden, AuxiliaryLossOfTheV1Release) {
  LASTBIT_NEEDS_SHARED();
  const auto golden = io::SafetensorsFile::open(testing::shared_path("golden/model/v1_seqaux/golden.safetensors"));
  for (const char* layer : {"1", "2"}) {
    const Tensor logits = golden.tensor(std::string("router.logits.layer") + layer);
    const Tensor choice = golden.tensor(std::string("router.topk_idx.layer") + layer);
    const Tensor ours = ops::unbiased_choice(logits, Affinity::kSoftmax, 3);
    EXPECT_TRUE(std::ranges::equal(ours.values<std::int64_t>(), choice.values<std::int64_t>())) << layer;
    const double expected =
        static_cast<double>(golden.tensor(std::string("aux_loss.layer") + layer).values<float>()[0]);
    const ops::BalanceLoss loss = ops::expert_balance_loss({logits, ours, Affinity::kSoftmax, 0.05, 20});
    EXPECT_NEAR(loss.loss, expected, 1e-6 * expected) << layer;
  }
}

}  // namespace
}  // namespace lastbit

// Routers, dropping, auxiliary losses and parallel heads as the model runs them.
#include "model/mixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/attention.h"
#include "model/config_file.h"
#include "model/tiny_models.h"
#include "model/transformer.h"
#include "ops/router.h"
#include "support/shared.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

constexpr std::int64_t kTokens = 16;  // of tiny_ids(2, 8)

Tensor tapped(const Transformer& model, const std::string& tap) {
  ForwardOptions options;
  options.taps = {tap};
  return model.forward(tiny_ids(2, 8), options).at(tap);
}

std::vector<std::int64_t> choice(const Transformer& model) {
  const Tensor experts = tapped(model, "router.topk_idx.layer1");
  const auto values = experts.values<std::int64_t>();
  return {values.begin(), values.end()};
}

LossResult loss_of(const Transformer& model, const LossOptions& options) {
  Gradients gradients = model.zero_gradients();
  return model.loss_and_gradients(tiny_ids(2, 8), options, gradients);
}

nlohmann::json router(const char* name, const nlohmann::json& more) {
  return with(with(tiny_v1(), {{"lastbit_router", name}}), more);
}

TEST(Mixture, SwitchDropsBeyondTheCapacityAndCountsIt) {
  const nlohmann::json dropless = router("switch", {{"num_experts_per_tok", 1}});
  const Transformer free = tiny_transformer(dropless, "fp32");
  const Transformer tight = tiny_transformer(with(dropless, {{"lastbit_capacity_factor", 1.0}}), "fp32");
  // ceil(16 / 8) = 2 places an expert.
  std::vector<std::int64_t> taken(8, 0);
  std::int64_t dropped = 0;
  std::vector<std::int64_t> expected = choice(free);
  for (std::int64_t& expert : expected)
    if (++taken[static_cast<std::size_t>(expert)] > 2) {
      expert = -1;
      ++dropped;
    }
  ASSERT_GT(dropped, 0);
  EXPECT_EQ(choice(tight), expected);
  EXPECT_EQ(tapped(tight, "router.dropped.layer1").values<std::int64_t>()[0], dropped);
  EXPECT_EQ(tapped(free, "router.dropped.layer1").values<std::int64_t>()[0], 0);
  const LossResult result = loss_of(tight, {});
  ASSERT_EQ(result.routing.size(), 1U);
  EXPECT_EQ(result.routing[0].layer, 1);
  EXPECT_EQ(result.routing[0].metrics.dropped, dropped);
  EXPECT_EQ(result.routing[0].metrics.tokens_without_expert, dropped);
}

TEST(Mixture, NothingIsDroppedWhileDecoding) {
  const Transformer tight =
      tiny_transformer(router("switch", {{"num_experts_per_tok", 1}, {"lastbit_capacity_factor", 0.5}}), "fp32");
  const Transformer free = tiny_transformer(router("switch", {{"num_experts_per_tok", 1}}), "fp32");
  const Tensor a = tapped(tight, "decode.logits");
  const Tensor b = tapped(free, "logits");
  EXPECT_TRUE(std::ranges::equal(a.bytes(), b.bytes()));
}

TEST(Mixture, HashFollowsTheTokenAlone) {
  const Transformer model =
      tiny_transformer(router("hash", {{"num_experts_per_tok", 1}, {"lastbit_hash_seed", 9}}), "fp32");
  EXPECT_EQ(model.weights().find("model.layers.1.mlp.gate.weight"), nullptr);
  const std::vector<std::int64_t> experts = choice(model);
  const Tensor ids = tiny_ids(2, 8);
  const auto id = ids.values<std::int64_t>();
  std::vector<std::int64_t> of_id(19, -1);
  for (std::size_t t = 0; t < id.size(); ++t) {
    std::int64_t& expert = of_id[static_cast<std::size_t>(id[t])];
    if (expert >= 0) {
      EXPECT_EQ(experts[t], expert) << "token " << t;
    }
    expert = experts[t];
  }
  const Transformer other =
      tiny_transformer(router("hash", {{"num_experts_per_tok", 1}, {"lastbit_hash_seed", 10}}), "fp32");
  EXPECT_NE(choice(other), experts);
}

TEST(Mixture, TopPTakesAsManyExpertsAsItNeeds) {
  const Transformer model = tiny_transformer(router("top_p", {{"lastbit_top_p", 0.6}}), "fp32");
  const Tensor logits = tapped(model, "router.logits.layer1");
  const std::vector<std::int64_t> experts = choice(model);
  std::size_t fewer = 0;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    std::vector<float> shares = ops::affinities(logits.values<float>().data() + t * 8, 8, ops::Affinity::kSoftmax);
    std::sort(shares.begin(), shares.end(), std::greater<>());
    std::int64_t wanted = 0;
    for (float sum = 0; wanted < 3 && (wanted == 0 || sum < 0.6F); ++wanted)
      sum += shares[static_cast<std::size_t>(wanted)];
    const auto row = std::span(experts).subspan(static_cast<std::size_t>(3 * t), 3);
    EXPECT_EQ(std::count_if(row.begin(), row.end(), [](auto e) { return e >= 0; }), wanted) << "token " << t;
    fewer += wanted < 3 ? 1 : 0;
  }
  EXPECT_GT(fewer, 0U);
}

TEST(Mixture, RandomnessBelongsToTrainingAndToItsStep) {
  const Transformer model =
      tiny_transformer(router("gshard", {{"num_experts_per_tok", 2}, {"lastbit_random_second", true}}), "fp32");
  const std::vector<std::int64_t> all = choice(model);
  EXPECT_EQ(std::count(all.begin(), all.end(), -1), 0);
  LossOptions options;
  options.randomness = Randomness{1, 1};
  const LossResult first = loss_of(model, options);
  EXPECT_GT(first.routing[0].metrics.skipped, 0);
  EXPECT_EQ(loss_of(model, options).loss, first.loss);
  options.randomness->step = 2;
  EXPECT_NE(loss_of(model, options).loss, first.loss);
  options.randomness.reset();
  EXPECT_EQ(loss_of(model, options).routing[0].metrics.skipped, 0);
}

TEST(Mixture, SharedExpertsMayTakePartInTheSoftmax) {
  const Transformer model = tiny_transformer(with(tiny_v1(), {{"lastbit_shared_logits", true}}), "fp32");
  const Tensor logits = tapped(model, "router.logits.layer1");
  ASSERT_EQ(logits.dim(1), 9);
  const Tensor experts = tapped(model, "router.topk_idx.layer1");
  const Tensor weights = tapped(model, "router.topk_weight.layer1");
  for (std::int64_t t = 0; t < kTokens; ++t) {
    const std::vector<float> shares =
        ops::affinities(logits.values<float>().data() + t * 9, 9, ops::Affinity::kSoftmax);
    for (std::int64_t slot = 3 * t; slot < 3 * t + 3; ++slot) {
      const auto expert = static_cast<std::size_t>(experts.values<std::int64_t>()[static_cast<std::size_t>(slot)]);
      EXPECT_EQ(weights.values<float>()[static_cast<std::size_t>(slot)], shares[expert + 1] * 1.5F);
    }
  }
}

// Each loss alone, then all: the sum, in the order of balance_loss.h.
TEST(Mixture, AuxiliaryLossesAddUp) {
  const std::vector<nlohmann::json> terms = {{{"aux_loss_alpha", 0.3}},
                                             {{"lastbit_device_loss_alpha", 0.2}},
                                             {{"lastbit_communication_loss_alpha", 0.4}},
                                             {{"lastbit_gshard_loss_alpha", 0.7}},
                                             {{"lastbit_switch_loss_alpha", 0.1}},
                                             {{"lastbit_z_loss", 0.05}}};
  LossOptions options;
  options.balance_loss = true;
  nlohmann::json all = with(tiny_v2(), {{"seq_aux", false}});
  double sum = 0;
  for (const nlohmann::json& term : terms) {
    const double one = loss_of(tiny_transformer(with(tiny_v2(), with(term, {{"seq_aux", false}})), "fp64"), options)
                           .routing[0]
                           .auxiliary_loss;
    EXPECT_GT(one, 0) << term;
    sum += one;
    all = with(all, term);
  }
  const Transformer model = tiny_transformer(all, "fp64");
  const LossResult left_out = loss_of(model, options);
  EXPECT_EQ(left_out.routing[0].auxiliary_loss, sum);
  options.balance_in_loss = true;
  EXPECT_EQ(loss_of(model, options).loss, left_out.loss + sum);
}

TEST(Mixture, CountsTheUnbiasedChoiceUnlessAskedOtherwise) {
  LossOptions options;
  options.balance_loss = true;
  const nlohmann::json unbiased = with(tiny_v3(), {{"aux_loss_alpha", 1.0}});
  const nlohmann::json routed = with(unbiased, {{"lastbit_balance_counts", "routed"}});
  const double a = loss_of(tiny_transformer(unbiased, "fp64"), options).routing[0].auxiliary_loss;
  const double b = loss_of(tiny_transformer(routed, "fp64"), options).routing[0].auxiliary_loss;
  EXPECT_NE(a, b);  // groups and bias move the choice of these weights
}

TEST(Yarn, MscaleMayDependOnTheLength) {
  nlohmann::json object = with(tiny_v3(), {{"rope_scaling",
                                            {{"type", "yarn"},
                                             {"factor", 40},
                                             {"original_max_position_embeddings", 64},
                                             {"mscale", 1.0},
                                             {"mscale_all_dim", 1.0}}}});
  const auto scale = [&] { return softmax_scale(parse_model_config(object, "x.json")); };
  const double mscale = 0.1 * std::log(40) + 1;
  const double plain = 1 / std::sqrt(8.0);
  EXPECT_NEAR(scale(), plain * mscale * mscale, 1e-15);
  object["lastbit_yarn_mscale"] = "beyond_original";
  EXPECT_EQ(scale(), plain);  // max_position_embeddings is 64, too
  object["max_position_embeddings"] = 65;
  EXPECT_NEAR(scale(), plain * mscale * mscale, 1e-15);
}

// A residual block of zeros leaves the model's own logits.
TEST(Medusa, AHeadOfZerosIsTheMainHead) {
  Transformer model = tiny_transformer(with(tiny_v3(), {{"lastbit_medusa_heads", 2}}), "fp32");
  for (const char* name : {"medusa.0.proj.weight", "medusa.1.proj.weight"})
    std::ranges::fill(model.weights().of(name).mutable_values<float>(), 0.0F);
  const Tensor main = tapped(model, "logits");
  for (const char* tap : {"medusa.logits.head1", "medusa.logits.head2"})
    EXPECT_TRUE(std::ranges::equal(tapped(model, tap).bytes(), main.bytes())) << tap;
}

// The mean over heads of -log softmax(logits of head k at i)[t(i + 1 + k)], from the tapped logits.
TEST(Medusa, LossIsThatOfTheTokensFurtherAhead) {
  const Transformer model =
      tiny_transformer(with(tiny_v3(), {{"lastbit_medusa_heads", 2}, {"lastbit_medusa_own_heads", true}}), "fp32");
  const Tensor ids = tiny_ids(2, 8);
  double expected = 0;
  for (std::int64_t k = 1; k <= 2; ++k) {
    const Tensor logits = tapped(model, fmt::format("medusa.logits.head{}", k));
    double nll = 0;
    for (std::int64_t row = 0; row < 2; ++row)
      for (std::int64_t i = 0; i + 1 + k < 8; ++i) {
        const float* x = logits.values<float>().data() + (row * 8 + i) * 19;
        double sum = 0;
        for (int v = 0; v < 19; ++v) sum += std::exp(static_cast<double>(x[v]));
        nll += std::log(sum) -
               static_cast<double>(x[ids.values<std::int64_t>()[static_cast<std::size_t>(row * 8 + i + 1 + k)]]);
      }
    expected += nll / static_cast<double>(2 * (7 - k)) / 2;
  }
  EXPECT_NEAR(tapped(model, "medusa.loss").values<double>()[0], expected, 1e-6 * expected);
}

TEST(Medusa, NeedsHeadsAndTokens) {
  LossOptions options;
  options.medusa = MedusaOptions{};
  EXPECT_THROW(static_cast<void>(loss_of(tiny_transformer(tiny_v3(), "fp32"), options)), core::Error);
  EXPECT_THROW(
      static_cast<void>(loss_of(tiny_transformer(with(tiny_v3(), {{"lastbit_medusa_heads", 7}}), "fp32"), options)),
      core::Error);
}

// The golden file has both means of the depths' losses.
TEST(Mtp, LossIsAMeanOverTargetsOrOverAllTokens) {
  LASTBIT_NEEDS_SHARED();
  const std::string folder = testing::shared_path("golden/model/v3_base");
  const auto golden = io::SafetensorsFile::open(folder + "/golden.safetensors");
  const Transformer model = Transformer::load(folder, ops::numerics_by_name("fp64"));
  for (const char* variant : {"paper", "hf"})
    for (const bool over_all : {false, true}) {
      LossOptions options;
      options.mtp = MtpOptions{find_mtp_variant(variant), 1, false, over_all};
      Gradients gradients = model.zero_gradients();
      const LossResult result = model.loss_and_gradients(golden.tensor("input_ids"), options, gradients);
      const double main = result.main.nll / static_cast<double>(result.main.targets);
      const Tensor expected = golden.tensor(fmt::format("mtp.{}.{}", variant, over_all ? "loss_over_T" : "loss_mean"));
      const double value = expected.dtype() == tensor::DType::kF64 ? expected.values<double>()[0]
                                                                   : static_cast<double>(expected.values<float>()[0]);
      EXPECT_NEAR(result.loss - main, value, 1e-6 * value) << variant << (over_all ? " over T" : " over targets");
    }
}

}  // namespace
}  // namespace lastbit::model

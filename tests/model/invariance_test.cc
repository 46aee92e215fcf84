// What must not change a bit: threads, the batch, prefill in pieces, packing, recomputing; and the two forms of MLA.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "model/tiny_models.h"
#include "model/transformer.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::ranges::equal(a.bytes(), b.bytes());
}

Tensor logits_of(const Transformer& model, const Tensor& ids, const ForwardOptions& options = {}) {
  return model.forward(ids, options).at("logits");
}

Tensor row(const Tensor& x, std::int64_t index) { return x.slice(0, index, index + 1).contiguous(); }

Tensor rows(const Tensor& x, const std::vector<std::int64_t>& order) {
  Tensor result = x.clone();
  const std::size_t bytes = x.nbytes() / static_cast<std::size_t>(x.dim(0));
  for (std::size_t i = 0; i < order.size(); ++i)
    std::memcpy(result.mutable_bytes().data() + i * bytes, row(x, order[i]).bytes().data(), bytes);
  return result;
}

// The logits of ids run through a cache in pieces of these lengths.
Tensor decoded(const Transformer& model, const Tensor& ids, const std::vector<std::int64_t>& pieces,
               MlaForm form = MlaForm::kNaive) {
  KeyValueCache cache(model.config().num_hidden_layers);
  std::vector<Tensor> parts;
  std::int64_t begin = 0;
  for (const std::int64_t piece : pieces) {
    parts.push_back(model.decode(ids.slice(1, begin, begin + piece), cache, form));
    begin += piece;
  }
  Tensor all = Tensor::empty(parts[0].dtype(), {ids.dim(0), begin, model.config().vocab_size});
  std::byte* out = all.mutable_bytes().data();
  for (std::int64_t b = 0; b < ids.dim(0); ++b)
    for (const Tensor& part : parts) {
      const Tensor piece = row(part, b);
      std::memcpy(out, piece.bytes().data(), piece.nbytes());
      out += piece.nbytes();
    }
  return all;
}

double relative_difference(const Tensor& a, const Tensor& b) {
  const auto x = a.values<float>();
  const auto y = b.values<float>();
  double difference = 0;
  double norm = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    difference += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
    norm += std::pow(static_cast<double>(y[i]), 2);
  }
  return std::sqrt(difference / norm);
}

// Every kind of attention and router that looks at one token at a time.
std::vector<std::pair<std::string, nlohmann::json>> dropless_models() {
  return {
      {"v3", tiny_v3()},
      {"rope only", with(tiny_v3(), {{"qk_nope_head_dim", 0}})},
      {"nope only", with(tiny_v3(), {{"qk_rope_head_dim", 0}})},
      {"v2", tiny_v2()},
      {"deepseek", tiny_v1()},
      {"hash", with(tiny_v1(), {{"lastbit_router", "hash"}, {"num_experts_per_tok", 1}})},
      {"top-p", with(tiny_v1(), {{"lastbit_router", "top_p"}, {"lastbit_top_p", 0.5}})},
      {"llama", tiny_llama()},
      {"llama without positions", with(tiny_llama(), {{"partial_rotary_factor", 0}})},
  };
}

TEST(ModelInvariance, NeitherBatchNorPiecesChangeABitWhereScalesAreATokens) {
  const Tensor ids = tiny_ids(3, 8);
  const std::vector<std::int64_t> order = {2, 0, 1};
  for (const char* policy : {"fp32", "bf16", "fp8-h800"})
    for (const auto& [name, config] : dropless_models()) {
      const Transformer model = tiny_transformer(config, policy);
      const Tensor logits = logits_of(model, ids);
      EXPECT_TRUE(same_bits(logits_of(model, rows(ids, order)), rows(logits, order))) << policy << ", " << name;
      EXPECT_TRUE(same_bits(logits_of(model, row(ids, 1)), row(logits, 1))) << policy << ", " << name;
      EXPECT_TRUE(same_bits(decoded(model, ids, {3, 1, 4}), logits)) << policy << ", " << name;
      EXPECT_TRUE(same_bits(decoded(model, ids, {1, 1, 6}), logits)) << policy << ", " << name;
    }
}

TEST(ModelInvariance, OneScaleATensorMakesTokensDependOnTheirCompany) {
  const Tensor ids = tiny_ids(3, 8);
  const Transformer model = tiny_transformer(tiny_v3(), "fp8-h800-tensor");
  const Tensor logits = logits_of(model, ids);
  EXPECT_FALSE(same_bits(logits_of(model, row(ids, 1)), row(logits, 1)));
  EXPECT_FALSE(same_bits(decoded(model, ids, {3, 1, 4}), logits));
}

TEST(ModelInvariance, PackedDocumentsAreThoseAlone) {
  const Tensor ids = tiny_ids(1, 8);
  for (const char* policy : {"fp32", "fp8-h800"})
    for (const auto& [name, config] : dropless_models()) {
      const Transformer model = tiny_transformer(config, policy);
      ForwardOptions options;
      options.documents = {3, 5};
      const Tensor logits = logits_of(model, ids, options);
      const auto alone = [&](std::int64_t begin, std::int64_t end) {
        return same_bits(logits.slice(1, begin, end).contiguous(), logits_of(model, ids.slice(1, begin, end)));
      };
      EXPECT_TRUE(alone(0, 3)) << policy << ", " << name;
      EXPECT_TRUE(alone(3, 8)) << policy << ", " << name;
    }
}

TEST(ModelInvariance, AbsorbedAttentionIsNaiveAttentionWithinRounding) {
  const Tensor ids = tiny_ids(2, 8);
  ForwardOptions absorbed;
  absorbed.mla_form = MlaForm::kAbsorbed;
  for (const auto& [name, config] : dropless_models()) {
    if (!config.contains("kv_lora_rank")) continue;
    const Transformer model = tiny_transformer(config, "fp32");
    const Tensor logits = logits_of(model, ids);
    const Tensor folded = logits_of(model, ids, absorbed);
    EXPECT_LT(relative_difference(folded, logits), 1e-5) << name;
    EXPECT_FALSE(same_bits(folded, logits)) << name << ": did the form change nothing?";
    EXPECT_TRUE(same_bits(decoded(model, ids, {4, 1, 3}, MlaForm::kAbsorbed), folded)) << name;
  }
}

struct Backward {
  double loss;
  tensor::NamedTensors gradients;
};

Backward run(const Transformer& model, const LossOptions& options) {
  Gradients gradients = model.zero_gradients();
  ops::DelayedScales scales;
  LossOptions with_scales = options;
  with_scales.scales = &scales;
  const double loss = model.loss_and_gradients(tiny_ids(2, 8), with_scales, gradients).loss;
  return {loss, gradients.tensors()};
}

void expect_same(const Backward& a, const Backward& b, const std::string& what) {
  EXPECT_EQ(a.loss, b.loss) << what;
  ASSERT_EQ(a.gradients.size(), b.gradients.size()) << what;
  for (const auto& [name, gradient] : a.gradients)
    EXPECT_TRUE(same_bits(gradient, b.gradients.at(name))) << what << ": " << name;
}

LossOptions everything() {
  LossOptions options;
  options.mtp = MtpOptions{};
  options.balance_loss = true;
  options.balance_in_loss = true;
  return options;
}

nlohmann::json deep_v3() {
  return with(tiny_v3(), {{"num_nextn_predict_layers", 1}, {"aux_loss_alpha", 0.1}, {"attention_bias", true}});
}

nlohmann::json switch_model() {
  return with(tiny_v1(), {{"lastbit_router", "switch"},
                          {"num_experts_per_tok", 1},
                          {"lastbit_jitter", 0.1},
                          {"lastbit_capacity_factor", 1.0}});
}

TEST(ModelInvariance, ThreadsChangeNoBitOfLossAndGradients) {
  for (const std::string& policy : ops::policy_names()) {
    const Transformer model = tiny_transformer(deep_v3(), policy);
    core::set_num_threads(1);
    const Backward alone = run(model, everything());
    core::set_num_threads(3);
    const Backward together = run(model, everything());
    core::set_num_threads(0);
    EXPECT_TRUE(std::isfinite(alone.loss)) << policy;
    expect_same(alone, together, policy);
  }
}

TEST(ModelInvariance, RecomputingChangesNoBit) {
  LossOptions plain = everything();
  for (const char* policy : {"fp32", "bf16", "fp8-h800"})
    for (const nlohmann::json& config : {deep_v3(), switch_model(), tiny_llama()}) {
      const Transformer model = tiny_transformer(config, policy);
      if (!model.weights().has_mtp()) plain.mtp.reset();
      plain.recompute = {};
      const Backward kept = run(model, plain);
      for (int parts = 1; parts < 8; ++parts) {
        plain.recompute = {(parts & 1) != 0, (parts & 2) != 0, (parts & 4) != 0};
        expect_same(run(model, plain), kept, fmt::format("{}, {}, {}", policy, model.config().model_type, parts));
      }
      plain.mtp = MtpOptions{};
    }
}

}  // namespace
}  // namespace lastbit::model

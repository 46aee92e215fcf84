// Gradients of whole models against central differences in FP64, for every kind of layer, router and loss.
#include "model/gradients.h"

#include <gtest/gtest.h>

#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "core/philox.h"
#include "model/tiny_models.h"
#include "model/transformer.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

struct GradientCase {
  std::string name;
  nlohmann::json config;
  LossOptions options;
};

void PrintTo(const GradientCase& gradient_case, std::ostream* out) { *out << gradient_case.name; }

// The reported loss has to be what is differentiated, so auxiliary losses are part of it here.
LossOptions loss_options() {
  LossOptions options;
  options.balance_loss = true;
  options.balance_in_loss = true;
  options.randomness = Randomness{7, 3};
  return options;
}

LossOptions with_mtp(const MtpOptions& mtp) {
  LossOptions options = loss_options();
  options.mtp = mtp;
  return options;
}

LossOptions with_medusa() {
  LossOptions options = loss_options();
  options.medusa = MedusaOptions{0.5};
  return options;
}

LossOptions packed() {
  LossOptions options = loss_options();
  options.documents = {3, 1, 4};
  return options;
}

std::vector<GradientCase> cases() {
  const LossOptions plain = loss_options();
  const nlohmann::json yarn = {{"rope_scaling",
                                {{"type", "yarn"},
                                 {"factor", 4},
                                 {"original_max_position_embeddings", 16},
                                 {"mscale", 0.7},
                                 {"mscale_all_dim", 1.0}}}};
  const nlohmann::json all_losses = {{"aux_loss_alpha", 0.3},
                                     {"lastbit_device_loss_alpha", 0.2},
                                     {"lastbit_communication_loss_alpha", 0.2},
                                     {"lastbit_z_loss", 0.1}};
  const nlohmann::json softmax_losses = {{"lastbit_gshard_loss_alpha", 0.9}, {"lastbit_switch_loss_alpha", 0.1}};
  const nlohmann::json deep = with(tiny_v3(), {{"num_nextn_predict_layers", 2}});
  return {
      {"v3", tiny_v3(), plain},
      {"v3_without_q_lora_with_bias", with(tiny_v3(), {{"q_lora_rank", nullptr}, {"attention_bias", true}}), plain},
      {"v3_q_lora_with_bias", with(tiny_v3(), {{"attention_bias", true}}), plain},
      {"v3_group_share", with(tiny_v3(), {{"lastbit_group_rank", "top_share"}, {"norm_topk_prob", false}}), plain},
      {"v3_all_losses", with(tiny_v3(), all_losses), plain},
      {"v3_all_losses_of_the_batch",
       with(with(tiny_v3(), all_losses), {{"seq_aux", false}, {"lastbit_balance_counts", "routed"}}), plain},
      {"v3_half_split", with(tiny_v3(), {{"rope_interleave", false}}), plain},
      {"v3_yarn", with(tiny_v3(), yarn), plain},
      {"v3_yarn_only_beyond_the_original_length",
       with(with(tiny_v3(), yarn), {{"lastbit_yarn_mscale", "beyond_original"}, {"max_position_embeddings", 16}}),
       plain},
      {"v3_rope_only", with(tiny_v3(), {{"qk_nope_head_dim", 0}}), plain},
      {"v3_nope_only", with(tiny_v3(), {{"qk_rope_head_dim", 0}}), plain},
      {"v3_packed", tiny_v3(), packed()},
      {"v3_mtp_paper", deep, with_mtp({MtpVariant::kPaper, 0.6, false, false})},
      {"v3_mtp_paper_as_printed", deep, with_mtp({MtpVariant::kPaper, 0.6, true, true})},
      {"v3_mtp_hf", with(deep, all_losses), with_mtp({MtpVariant::kHf, 0.6, false, false})},
      {"v3_tied_mtp_hf", with(deep, {{"tie_word_embeddings", true}}), with_mtp({MtpVariant::kHf, 0.6, false, true})},
      {"v3_medusa", with(tiny_v3(), {{"lastbit_medusa_heads", 2}}), with_medusa()},
      {"v3_medusa_own", with(tiny_v3(), {{"lastbit_medusa_heads", 3}, {"lastbit_medusa_own_heads", true}}),
       with_medusa()},
      {"v2", with(with(tiny_v2(), all_losses), softmax_losses), plain},
      {"v2_device_capacity",
       with(tiny_v2(), {{"lastbit_device_capacity_factor", 0.8}, {"lastbit_protected_share", 0.5}}), plain},
      {"deepseek", with(tiny_v1(), {{"aux_loss_alpha", 0.3}}), plain},
      {"deepseek_devices", with(with(tiny_v1(), all_losses), {{"lastbit_devices", 2}}), plain},
      {"deepseek_shared_logits",
       with(with(tiny_v1(), all_losses), {{"lastbit_shared_logits", true}, {"lastbit_devices", 4}}), plain},
      {"gshard",
       with(with(tiny_v1(), softmax_losses), {{"lastbit_router", "gshard"},
                                              {"num_experts_per_tok", 2},
                                              {"lastbit_random_second", true},
                                              {"lastbit_capacity_factor", 1.0}}),
       plain},
      {"switch",
       with(with(tiny_v1(), softmax_losses), {{"lastbit_router", "switch"},
                                              {"num_experts_per_tok", 1},
                                              {"lastbit_jitter", 0.1},
                                              {"lastbit_capacity_factor", 1.25}}),
       plain},
      {"hash", with(tiny_v1(), {{"lastbit_router", "hash"}, {"num_experts_per_tok", 1}, {"lastbit_hash_seed", 5}}),
       plain},
      {"top_p", with(with(tiny_v1(), all_losses), {{"lastbit_router", "top_p"}, {"lastbit_top_p", 0.5}}), plain},
      {"top_p_sigmoid",
       with(with(tiny_v1(), all_losses), {{"lastbit_router", "top_p"},
                                          {"lastbit_top_p", 0.3},
                                          {"scoring_func", "sigmoid"},
                                          {"norm_topk_prob", true}}),
       plain},
      {"llama_gqa", tiny_llama(), plain},
      {"llama_mqa_bias_tied",
       with(tiny_llama(), {{"num_key_value_heads", 1}, {"attention_bias", true}, {"tie_word_embeddings", true}}),
       plain},
      {"llama_partial_rotary", with(tiny_llama(), {{"partial_rotary_factor", 0.5}}), packed()},
      {"llama_nope", with(tiny_llama(), {{"partial_rotary_factor", 0}}), plain},
      {"qwen_biases", with(tiny_llama(), {{"model_type", "qwen2"}}), plain},
      {"llama_medusa_tied", with(tiny_llama(), {{"tie_word_embeddings", true}, {"lastbit_medusa_heads", 1}}),
       with_medusa()},
  };
}

class ModelGradients : public ::testing::TestWithParam<GradientCase> {
 protected:
  ModelGradients()
      : options_(GetParam().options), ids_(tiny_ids(2, 8)), model_(tiny_transformer(GetParam().config, "fp64")) {
    core::set_num_threads(1);  // many short passes
    for (const std::string& tap : model_.gradient_tap_names())
      if (tap.starts_with("router.topk_idx.") && (options_.mtp || !is_mtp_tap(tap))) options_.taps.push_back(tap);
  }

  ~ModelGradients() override { core::set_num_threads(0); }

  [[nodiscard]] bool is_mtp_tap(const std::string& tap) const {
    return std::stoll(tap.substr(tap.find("layer") + 5)) >= model_.config().num_hidden_layers;
  }

  // The loss with an element of a weight moved, and whether the routing is that of `unmoved`.
  struct Moved {
    double loss;
    bool same_routing;
  };
  [[nodiscard]] Moved at(double& element, double value, const LossResult& unmoved) {
    const double before = element;
    element = value;
    Gradients unused = model_.zero_gradients();
    const LossResult result = model_.loss_and_gradients(ids_, options_, unused);
    element = before;
    bool same = true;
    for (const auto& [name, choice] : unmoved.taps)
      same = same && std::ranges::equal(choice.bytes(), result.taps.at(name).bytes());
    return {result.loss, same};
  }

  LossOptions options_;
  Tensor ids_;
  Transformer model_;
};

// Losses are of order 1 with third derivatives up to some hundreds in weights of 0.4: a step of 1e-5 leaves 1e-8 of
// truncation at the worst and 2^-52 / 1e-5 times a few = 1e-10 of rounding.
TEST_P(ModelGradients, AreThoseOfCentralDifferences) {
  constexpr double kStep = 1e-5;
  constexpr std::uint64_t kEntriesAWeight = 3;
  Gradients gradients = model_.zero_gradients();
  const LossResult unmoved = model_.loss_and_gradients(ids_, options_, gradients);
  if (model_.config().router_options.capacity_factor + model_.config().router_options.device_capacity_factor > 0) {
    EXPECT_GT(unmoved.routing.at(0).metrics.dropped, 0) << "nothing is dropped: the case tests less than it says";
  }
  int checked = 0;
  int skipped = 0;
  for (const auto& [name, gradient] : gradients.tensors()) {
    if (!options_.mtp && model_.is_mtp_weight(name)) continue;
    const core::RandomStream random(5, name);
    const auto weight = model_.weights().of(name).mutable_values<double>();
    for (std::uint64_t draw = 0; draw < kEntriesAWeight; ++draw) {
      const std::size_t i = random.word(draw) % weight.size();
      const Moved above = at(weight[i], weight[i] + kStep, unmoved);
      const Moved below = at(weight[i], weight[i] - kStep, unmoved);
      ++checked;
      if (!above.same_routing || !below.same_routing) {
        ++skipped;
        continue;
      }
      const double expected = (above.loss - below.loss) / (2 * kStep);
      EXPECT_NEAR(gradient.values<double>()[i], expected, 1e-7 * (0.1 + std::abs(expected)))
          << name << " [" << i << "]";
    }
  }
  EXPECT_LE(skipped, checked / 50);
}

INSTANTIATE_TEST_SUITE_P(Cases, ModelGradients, ::testing::ValuesIn(cases()),
                         [](const auto& gradient_case) { return gradient_case.param.name; });

}  // namespace
}  // namespace lastbit::model

#include "model/tiny_models.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/philox.h"
#include "model/config_file.h"
#include "model/init.h"
#include "model/weight_specs.h"
#include "numerics/normal.h"
#include "ops/numerics.h"

namespace lastbit::model {
namespace {

using tensor::DType;
using tensor::Tensor;

constexpr std::int64_t kVocabulary = 19;

nlohmann::json common(const std::string& model_type) {
  return {{"model_type", model_type}, {"vocab_size", kVocabulary}, {"hidden_size", 12},
          {"intermediate_size", 10},  {"num_hidden_layers", 2},    {"num_attention_heads", 2},
          {"initializer_range", 0.4}, {"rope_theta", 100},         {"max_position_embeddings", 64}};
}

const nlohmann::json& latent_attention() {
  static const nlohmann::json kKeys = {
      {"kv_lora_rank", 6}, {"qk_nope_head_dim", 4}, {"qk_rope_head_dim", 4}, {"v_head_dim", 5}};
  return kKeys;
}

const nlohmann::json& mixture() {
  static const nlohmann::json kKeys = {{"n_routed_experts", 8},      {"n_shared_experts", 1},
                                       {"num_experts_per_tok", 3},   {"moe_intermediate_size", 7},
                                       {"first_k_dense_replace", 1}, {"routed_scaling_factor", 1.5}};
  return kKeys;
}

// 1 + 0.3 z for gains, 0.1 z for biases, which training would start at 1 and 0.
Tensor random_vector(const WeightSpec& spec) {
  Tensor values = Tensor::empty(DType::kF32, spec.shape);
  const bool gain = spec.kind == WeightKind::kNorm;
  numerics::fill_normal(core::RandomStream(3, spec.name), gain ? 0.3 : 0.1, values.mutable_values<float>());
  if (gain)
    for (float& value : values.mutable_values<float>()) value += 1;
  return values;
}

Tensor as_dtype(const Tensor& values, DType dtype) {
  if (dtype == DType::kF32) return values;
  Tensor wide = Tensor::empty(DType::kF64, values.shape());
  std::ranges::copy(values.values<float>(), wide.mutable_values<double>().begin());
  return wide;
}

}  // namespace

nlohmann::json with(nlohmann::json base, const nlohmann::json& changes) {
  base.update(changes);
  return base;
}

nlohmann::json tiny_v3() {
  return with(with(with(common("deepseek_v3"), latent_attention()), mixture()),
              {{"q_lora_rank", 8}, {"n_group", 4}, {"topk_group", 2}});
}

nlohmann::json tiny_v2() {
  return with(with(with(common("deepseek_v2"), latent_attention()), mixture()),
              {{"topk_method", "group_limited_greedy"}, {"n_group", 4}, {"topk_group", 2}});
}

nlohmann::json tiny_v1() { return with(common("deepseek"), mixture()); }

nlohmann::json tiny_llama() {
  return with(common("llama"), {{"num_attention_heads", 4}, {"num_key_value_heads", 2}, {"head_dim", 4}});
}

Transformer tiny_transformer(const nlohmann::json& config_object, const std::string& policy) {
  const ModelConfig config = parse_model_config(config_object, "tiny.json");
  ops::Numerics numerics = ops::numerics_by_name(policy);
  std::vector<WeightSpec> specs = main_weights(config);
  std::ranges::copy(mtp_weights(config), std::back_inserter(specs));
  tensor::NamedTensors weights;
  for (const WeightSpec& spec : specs) {
    if (!spec.copy_of.empty()) continue;
    const Tensor values = spec.kind == WeightKind::kMatrix ? initial_weight(spec, config, 1) : random_vector(spec);
    weights[spec.name] = as_dtype(values, ops::value_dtype(numerics));
  }
  return {config, Weights::from(std::move(weights), config.num_nextn_predict_layers > 0), std::move(numerics)};
}

Tensor tiny_ids(std::int64_t batch, std::int64_t tokens) {
  Tensor ids = Tensor::empty(DType::kI64, {batch, tokens});
  const core::RandomStream random(4, "tiny_ids");
  std::uint64_t place = 0;
  for (std::int64_t& id : ids.mutable_values<std::int64_t>())
    id = static_cast<std::int64_t>(random.word(place++) % kVocabulary);
  return ids;
}

}  // namespace lastbit::model

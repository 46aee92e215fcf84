#include "kernels/device/support.h"

#include "core/error.h"
#include "kernels/plain/attention.h"
#include "kernels/routing/routing.h"

namespace lastbit::device {
namespace {

void require(bool fine, const char* found, const char* expected) {
  if (!fine) core::fail_input("the device path: the model has {}, expected {}; --device cpu has it", found, expected);
}

}  // namespace

void require_supported(const model::ModelConfig& config) {
  require(config.attention == model::AttentionKind::kMla, "grouped-query attention", "latent attention (MLA)");
  require(config.qk_rope_head_dim > 0 && config.qk_rope_head_dim <= kernels::kMostRopeDim,
          "a rotated part of the heads of another size", "1 to 256 elements");
  require(!config.attention_bias, "attention_bias", "projections without biases");
  require(config.medusa_heads == 0, "Medusa heads", "none");
  if (config.n_routed_experts == 0) return;
  const model::RouterOptions& options = config.router_options;
  require(config.router == model::RouterKind::kV3 && config.scoring_func == model::ScoringFunc::kSigmoid &&
              config.topk_method == model::TopkMethod::kNoauxTc,
          "another router", "DeepSeek-V3's: sigmoid, noaux_tc");
  require(options.group_sum == model::GroupSum::kTopTwo && !options.masked_at_zero && !options.shared_logits,
          "a router's variant", "groups ranked by their two best experts, the others out");
  require(options.capacity_factor == 0 && options.device_capacity_factor == 0, "capacities",
          "experts that drop nothing");
  require(config.n_routed_experts <= kernels::kMostExperts && config.n_group <= kernels::kMostGroups &&
              config.num_experts_per_tok <= kernels::kMostTopK,
          "a router of another size", "at most 1024 experts, 32 groups and 32 experts a token");
}

void require_length(std::int64_t tokens, bool gradients) {
  const int most = gradients ? kernels::kMostGradientQueries : kernels::kMostAttentionKeys;
  if (tokens > most)
    core::fail_input("the device path: sequences of {} tokens{}, expected at most {}; --device cpu has longer ones",
                     tokens, gradients ? " with gradients" : "", most);
}

ModelUse model_use(const ops::Numerics& numerics, bool mtp, bool gradients, bool moments) {
  ModelUse use{Element::kBF16, mtp, gradients, moments, numerics.name == "fp8-h800"};
  if (numerics.name == "fp32")
    use.element = Element::kF32;
  else if (numerics.name != "bf16" && !use.fp8)
    core::fail_input("the device path: numerics '{}', expected fp32, bf16 or fp8-h800; --device cpu has the others",
                     numerics.name);
  if (use.fp8 && gradients)
    core::fail_input(
        "the device path: numerics 'fp8-h800' with gradients, expected fp32 or bf16; --device cpu has them");
  return use;
}

}  // namespace lastbit::device

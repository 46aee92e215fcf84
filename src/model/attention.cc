#include "model/attention.h"

#include <cmath>

#include "model/gqa.h"
#include "model/mla.h"

namespace lastbit::model {

ops::RopeParameters rope_parameters(const ModelConfig& config) {
  ops::RopeParameters parameters;
  parameters.dim = config.rotary_dim();
  parameters.theta = config.rope_theta;
  if (const auto& yarn = config.rope_scaling)
    parameters.yarn = ops::YarnParameters{yarn->factor,    static_cast<double>(yarn->original_max_position_embeddings),
                                          yarn->beta_fast, yarn->beta_slow,
                                          yarn->mscale,    yarn->mscale_all_dim};
  if (const auto& llama3 = config.rope_llama3)
    parameters.llama3 = ops::Llama3Parameters{llama3->factor, llama3->low_freq_factor, llama3->high_freq_factor,
                                              static_cast<double>(llama3->original_max_position_embeddings)};
  return parameters;
}

double softmax_scale(const ModelConfig& config) {
  const double scale = 1 / std::sqrt(static_cast<double>(config.qk_head_dim()));
  if (!config.rope_scaling || config.attention != AttentionKind::kMla) return scale;
  if (config.rope_scaling->apply_mscale == YarnMscale::kBeyondOriginal &&
      config.max_position_embeddings <= config.rope_scaling->original_max_position_embeddings)
    return scale;
  const double mscale = ops::yarn_mscale(config.rope_scaling->factor, config.rope_scaling->mscale_all_dim);
  return scale * mscale * mscale;
}

std::unique_ptr<AttentionPass> make_attention_pass(std::int64_t layer, const PassContext& context) {
  if (context.config.attention == AttentionKind::kMla) return std::make_unique<MlaPass>(layer, context);
  return std::make_unique<GqaPass>(layer, context);
}

}  // namespace lastbit::model

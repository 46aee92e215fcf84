#include "model/tap_names.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/suggest.h"

namespace lastbit::model {
namespace {

using Names = std::vector<std::string>;

void add_layer(const ModelConfig& config, std::int64_t layer, Names& names) {
  const auto add = [&](const char* name) { names.push_back(fmt::format("{}.layer{}", name, layer)); };
  add("attn_norm");
  if (config.attention == AttentionKind::kMla) {
    add("cache.c_kv");
    add("cache.k_rope");
  }
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_heads", "attn_out", "hidden_mid", "mlp_norm"}) add(name);
  if (config.is_moe_layer(layer)) {
    if (config.router_width() > 0) add("router.logits");
    for (const char* name : {"router.topk_idx", "router.topk_weight", "router.dropped", "aux_loss"}) add(name);
  }
  add("mlp_out");
  add("hidden");
}

// What both passes have.
Names common_names(const ModelConfig& config) {
  Names names = {"rope.inv_freq", "rope.cos", "rope.sin", "hidden.embed"};
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) add_layer(config, layer, names);
  names.emplace_back("hidden.final_norm");
  return names;
}

}  // namespace

Names forward_tap_names(const ModelConfig& config, bool mtp) {
  Names names = common_names(config);
  for (const char* name : {"logits", "logits.last", "loss", "decode.logits"}) names.emplace_back(name);
  for (std::int64_t head = 1; head <= config.medusa_heads; ++head)
    names.push_back(fmt::format("medusa.logits.head{}", head));
  if (config.medusa_heads > 0) names.emplace_back("medusa.loss");
  if (!mtp) return names;
  for (const char* variant : {"paper", "hf"}) {
    for (std::int64_t depth = 1; depth <= config.num_nextn_predict_layers; ++depth) {
      names.push_back(fmt::format("mtp.{}.logits.depth{}", variant, depth));
      names.push_back(fmt::format("mtp.{}.nll_sum.depth{}", variant, depth));
    }
    for (const char* name : {"loss_mean", "loss_over_T", "total_loss"})
      names.push_back(fmt::format("mtp.{}.{}", variant, name));
  }
  return names;
}

Names loss_tap_names(const ModelConfig& config, bool mtp) {
  Names names = common_names(config);
  const std::int64_t layers = config.num_hidden_layers + (mtp ? config.num_nextn_predict_layers : 0);
  for (std::int64_t layer = config.num_hidden_layers; layer < layers; ++layer) add_layer(config, layer, names);
  names.emplace_back("grad.hidden.final_norm");
  for (std::int64_t layer = layers - 1; layer >= 0; --layer) {
    const auto add = [&](const char* name) { names.push_back(fmt::format("grad.{}.layer{}", name, layer)); };
    for (const char* name : {"hidden", "mlp_out"}) add(name);
    if (config.is_moe_layer(layer) && config.router_width() > 0) add("router.logits");
    for (const char* name :
         {"mlp_norm", "hidden_mid", "attn_out", "attn_heads", "attn_q", "attn_k", "attn_v", "attn_norm"})
      add(name);
  }
  names.emplace_back("grad.hidden.embed");
  return names;
}

std::set<std::string> require_taps(const Names& taps, const Names& names, const ModelConfig& config) {
  for (const std::string& tap : taps)
    if (std::find(names.begin(), names.end(), tap) == names.end())
      core::fail_input("tap '{}': no such tap in this model of {} layers{}", tap, config.num_hidden_layers,
                       core::suggestion(tap, names));
  return {taps.begin(), taps.end()};
}

}  // namespace lastbit::model

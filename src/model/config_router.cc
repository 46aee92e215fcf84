#include "model/config_router.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "model/config_sizes.h"

namespace lastbit::model {
namespace {

using io::ConfigReader;
using enum RouterKind;

// Keys of Lastbit's own, and the routers that have a use for them.
struct OwnKey {
  const char* key;
  std::vector<RouterKind> routers;
};

const std::vector<OwnKey>& own_keys() {
  static const std::vector<RouterKind> kWithLogits = {kV3, kV2, kDeepSeekMoE, kGShard, kSwitch, kTopP};
  static const std::vector<RouterKind> kDeepSeek = {kV3, kV2, kDeepSeekMoE};
  static const std::vector<OwnKey> kKeys = {
      {"lastbit_random_second", {kGShard}},
      {"lastbit_jitter", {kSwitch}},
      {"lastbit_top_p", {kTopP}},
      {"lastbit_hash_seed", {kHash}},
      {"lastbit_devices", kWithLogits},
      {"lastbit_device_capacity_factor", kDeepSeek},
      {"lastbit_protected_share", kDeepSeek},
      {"lastbit_group_rank", {kV3}},
      {"lastbit_masked_groups", {kV3}},
      {"lastbit_shared_logits", {kV2, kDeepSeekMoE}},
      {"lastbit_balance_counts", {kV3}},
      {"lastbit_device_loss_alpha", kWithLogits},
      {"lastbit_communication_loss_alpha", kWithLogits},
      {"lastbit_gshard_loss_alpha", kWithLogits},
      {"lastbit_switch_loss_alpha", kWithLogits},
      {"lastbit_z_loss", kWithLogits},
  };
  return kKeys;
}

const char* router_name(RouterKind kind) {
  switch (kind) {
    case kV3:
      return "deepseek_v3's";
    case kV2:
      return "deepseek_v2's";
    case kDeepSeekMoE:
      return "deepseek's";
    case kGShard:
      return "gshard";
    case kSwitch:
      return "switch";
    case kHash:
      return "hash";
    case kTopP:
      break;
  }
  return "top_p";
}

void refuse_keys_of_other_routers(const ConfigReader& reader, RouterKind kind) {
  for (const OwnKey& own : own_keys())
    if (reader.has(own.key) && std::find(own.routers.begin(), own.routers.end(), kind) == own.routers.end())
      reader.fail(own.key, fmt::format("no such key: the router is {}, which has no use for it", router_name(kind)));
}

// What is fixed about a router.
struct RouterRules {
  RouterKind kind;
  std::vector<std::string> scoring;  // the first is the default
  std::vector<std::string> methods;
  bool norm_topk_prob;       // the default
  std::int64_t experts = 0;  // a token's; 0: as the file says
};

RouterRules router_rules(const ConfigReader& reader, const std::string& model_type) {
  if (reader.has("lastbit_router")) {
    const std::string name = reader.require_one_of("lastbit_router", {"gshard", "switch", "hash", "top_p"});
    if (name == "gshard") return {kGShard, {"softmax"}, {"greedy"}, true, 2};
    if (name == "switch") return {kSwitch, {"softmax"}, {"greedy"}, false, 1};
    if (name == "hash") return {kHash, {"softmax", "sigmoid"}, {"greedy"}, false, 1};  // scores nothing
    return {kTopP, {"softmax", "sigmoid"}, {"greedy"}, false};
  }
  if (model_type == "deepseek_v3") return {kV3, {"sigmoid"}, {"noaux_tc"}, true};
  if (model_type == "deepseek_v2") return {kV2, {"softmax"}, {"greedy", "group_limited_greedy"}, false};
  return {kDeepSeekMoE, {"softmax"}, {"greedy"}, false};
}

TopkMethod topk_method(const std::string& name) {
  if (name == "noaux_tc") return TopkMethod::kNoauxTc;
  return name == "greedy" ? TopkMethod::kGreedy : TopkMethod::kGroupLimitedGreedy;
}

// "a" when missing, else one of "a" and "b"; whether it is "b".
bool is_second(const ConfigReader& reader, const std::string& key, const char* a, const char* b) {
  return reader.has(key) && reader.require_one_of(key, {a, b}) == b;
}

double coefficient(const ConfigReader& reader, const std::string& key) {
  const double value = reader.get_or<double>(key, 0.0);
  if (value < 0) reader.fail(key, "a number of at least 0");
  return value;
}

void read_groups(const ConfigReader& reader, ModelConfig& config) {
  if (config.topk_method == TopkMethod::kGreedy) {
    reader.ignore("n_group");
    reader.ignore("topk_group");
    return;
  }
  config.n_group = require_size(reader, "n_group");
  config.topk_group = require_size(reader, "topk_group");
  if (config.n_routed_experts % config.n_group != 0)
    reader.fail("n_group", fmt::format("a divisor of n_routed_experts {}", config.n_routed_experts));
  if (is_second(reader, "lastbit_group_rank", "top2", "top_share"))
    config.router_options.group_sum = GroupSum::kTopShare;
  config.router_options.masked_at_zero = is_second(reader, "lastbit_masked_groups", "out", "zero");
  const std::int64_t per_group = config.n_routed_experts / config.n_group;
  if (config.topk_method == TopkMethod::kNoauxTc && config.router_options.group_sum == GroupSum::kTopTwo &&
      per_group < 2)
    reader.fail("n_group", fmt::format("groups of at least 2 of the {} experts", config.n_routed_experts));
  if (config.topk_group > config.n_group) reader.fail("topk_group", fmt::format("at most n_group {}", config.n_group));
  if (config.num_experts_per_tok > config.topk_group * per_group)
    reader.fail("num_experts_per_tok", fmt::format("at most the {} experts of {} groups of {}",
                                                   config.topk_group * per_group, config.topk_group, per_group));
}

void read_dropping(const ConfigReader& reader, ModelConfig& config) {
  RouterOptions& options = config.router_options;
  options.capacity_factor = coefficient(reader, "lastbit_capacity_factor");
  options.devices = reader.has("lastbit_devices") ? require_size(reader, "lastbit_devices") : config.n_group;
  if (config.n_routed_experts % options.devices != 0)
    reader.fail("lastbit_devices", fmt::format("a divisor of n_routed_experts {}", config.n_routed_experts));
  options.device_capacity_factor = coefficient(reader, "lastbit_device_capacity_factor");
  if (!reader.has("lastbit_protected_share")) return;
  options.protected_share = reader.require_in("lastbit_protected_share", 0.0, 1.0);
  if (options.device_capacity_factor == 0)
    reader.fail("lastbit_protected_share", "no such key without lastbit_device_capacity_factor");
}

void read_router_options(const ConfigReader& reader, ModelConfig& config) {
  RouterOptions& options = config.router_options;
  options.random_second = reader.get_or<bool>("lastbit_random_second", false);
  options.jitter = coefficient(reader, "lastbit_jitter");
  if (options.jitter >= 1) reader.fail("lastbit_jitter", "a number below 1");
  if (config.router == kTopP) {
    options.top_p = reader.require_in("lastbit_top_p", 0.0, 1.0);
    if (options.top_p == 0) reader.fail("lastbit_top_p", "a number above 0");
  }
  options.hash_seed = optional_size(reader, "lastbit_hash_seed");
  options.shared_logits = reader.get_or<bool>("lastbit_shared_logits", false);
  if (options.shared_logits && config.n_shared_experts == 0)
    reader.fail("lastbit_shared_logits", "false, for there are no shared experts");
  read_dropping(reader, config);
}

void read_balance(const ConfigReader& reader, ModelConfig& config) {
  config.aux_loss_alpha = coefficient(reader, "aux_loss_alpha");
  if (config.aux_loss_alpha > 0 && config.router == kHash)
    reader.fail("aux_loss_alpha", "0, for a hash router has no affinities to balance");
  config.seq_aux = reader.get_or<bool>("seq_aux", true);
  BalanceOptions& balance = config.balance;
  balance.count_routed = config.router != kV3;
  if (is_second(reader, "lastbit_balance_counts", "unbiased", "routed")) balance.count_routed = true;
  balance.device_alpha = coefficient(reader, "lastbit_device_loss_alpha");
  balance.communication_alpha = coefficient(reader, "lastbit_communication_loss_alpha");
  if (balance.communication_alpha > 0 && config.topk_method != TopkMethod::kGreedy &&
      config.router_options.devices != config.n_group)
    reader.fail("lastbit_communication_loss_alpha", "lastbit_devices to be n_group: a token's groups are its devices");
  balance.gshard_alpha = coefficient(reader, "lastbit_gshard_loss_alpha");
  balance.switch_alpha = coefficient(reader, "lastbit_switch_loss_alpha");
  for (const char* key : {"lastbit_gshard_loss_alpha", "lastbit_switch_loss_alpha"})
    if (coefficient(reader, key) > 0 &&
        (config.scoring_func != ScoringFunc::kSoftmax || config.router_options.shared_logits))
      reader.fail(key, "0, for this loss is of a softmax over the routed experts");
  balance.z_coefficient = coefficient(reader, "lastbit_z_loss");
}

void ignore_all(const ConfigReader& reader) {
  for (const char* key :
       {"n_shared_experts", "num_experts_per_tok", "moe_intermediate_size", "moe_layer_freq", "n_group", "topk_group",
        "topk_method", "scoring_func", "norm_topk_prob", "routed_scaling_factor", "lastbit_router",
        "lastbit_capacity_factor", "aux_loss_alpha", "seq_aux"})
    reader.ignore(key);
  for (const OwnKey& own : own_keys()) reader.ignore(own.key);
}

}  // namespace

void read_moe(const ConfigReader& reader, ModelConfig& config) {
  config.n_routed_experts = optional_size(reader, "n_routed_experts");
  config.first_k_dense_replace = optional_size(reader, "first_k_dense_replace");
  if (config.n_routed_experts == 0) return ignore_all(reader);
  config.n_shared_experts = optional_size(reader, "n_shared_experts");
  config.num_experts_per_tok = require_size(reader, "num_experts_per_tok");
  if (config.num_experts_per_tok > config.n_routed_experts)
    reader.fail("num_experts_per_tok", fmt::format("at most n_routed_experts {}", config.n_routed_experts));
  config.moe_intermediate_size = require_size(reader, "moe_intermediate_size");
  config.moe_layer_freq = reader.has("moe_layer_freq") ? require_size(reader, "moe_layer_freq") : 1;

  const RouterRules rules = router_rules(reader, config.model_type);
  config.router = rules.kind;
  refuse_keys_of_other_routers(reader, rules.kind);
  if (rules.experts != 0 && config.num_experts_per_tok != rules.experts)
    reader.fail("num_experts_per_tok", fmt::format("{} with router {}", rules.experts, router_name(rules.kind)));
  const std::string scoring =
      reader.has("scoring_func") ? reader.require_one_of("scoring_func", rules.scoring) : rules.scoring.front();
  config.scoring_func = scoring == "sigmoid" ? ScoringFunc::kSigmoid : ScoringFunc::kSoftmax;
  const std::string method =
      reader.has("topk_method") ? reader.require_one_of("topk_method", rules.methods) : rules.methods.front();
  config.topk_method = topk_method(method);
  config.norm_topk_prob = reader.get_or<bool>("norm_topk_prob", rules.norm_topk_prob);
  config.routed_scaling_factor = reader.get_or<double>("routed_scaling_factor", 1.0);
  if (!(config.routed_scaling_factor > 0)) reader.fail("routed_scaling_factor", "a number above 0");
  read_groups(reader, config);
  read_router_options(reader, config);
  read_balance(reader, config);
}

}  // namespace lastbit::model

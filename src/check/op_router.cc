// Routers of every kind, and the jitter before them.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "ops/router.h"

namespace lastbit::check {
namespace {

using ops::Affinity;
using ops::GroupRank;
using ops::Selection;
using tensor::NamedTensors;
using tensor::Tensor;

constexpr std::int64_t kMostWords = std::numeric_limits<std::uint32_t>::max();
constexpr std::int64_t kMostSeeds = (std::int64_t{1} << 53) - 1;  // whole numbers that a double holds

std::vector<OpSetting> random_settings() {
  return {whole_setting("seed", "0", 0, kMostSeeds, "of what is random"),
          whole_setting("layer", "0", 0, kMostWords, "likewise"), whole_setting("step", "0", 0, kMostWords, "likewise"),
          whole_setting("first_token", "0", 0, kManyTokens, "place of row 0 in the step's batch")};
}

ops::RouteContext context_of(const OpArguments& in) {
  ops::RouteContext context;
  context.seed = static_cast<std::uint64_t>(in.whole("seed"));
  context.layer = static_cast<std::uint32_t>(in.whole("layer"));
  context.step = static_cast<std::uint32_t>(in.whole("step"));
  context.first_token = in.whole("first_token");
  return context;
}

ops::RouterRule rule_of(const OpArguments& in) {
  ops::RouterRule rule;
  rule.affinity = in.choice<Affinity>("scoring_func", {{"sigmoid", Affinity::kSigmoid},
                                                       {"softmax", Affinity::kSoftmax},
                                                       {"normalised_sigmoid", Affinity::kNormalisedSigmoid}});
  rule.selection = in.choice<Selection>(
      "selection", {{"top_k", Selection::kTopK}, {"top_p", Selection::kTopP}, {"hash", Selection::kHash}});
  rule.group_rank = in.choice<GroupRank>("group_rank", {{"none", GroupRank::kNone},
                                                        {"max", GroupRank::kMax},
                                                        {"top_two", GroupRank::kTopTwo},
                                                        {"top_share", GroupRank::kTopShare}});
  rule.groups = in.whole("n_group");
  rule.kept_groups = in.whole("topk_group");
  rule.top_k = in.whole("num_experts_per_tok");
  rule.shared_logits = in.whole("shared_logits");
  rule.normalise = in.flag("norm_topk_prob");
  rule.scale = in.number("routed_scaling_factor");
  rule.top_p = in.number("top_p");
  rule.random_second = in.flag("random_second");
  rule.capacity_factor = in.number("capacity_factor");
  rule.device_capacity_factor = in.number("device_capacity_factor");
  rule.devices = in.whole("devices");
  rule.protected_share = in.number("protected_share");
  return rule;
}

void check_groups(const OpArguments& in, const ops::RouterRule& rule, std::int64_t experts) {
  if (experts % rule.groups != 0)
    core::fail_input("{}: {} experts in n_group {}, expected groups of one size", in.op(), experts, rule.groups);
  if (rule.group_rank == GroupRank::kNone) in.refuse_settings({"n_group", "topk_group"}, "group_rank is none");
  if (rule.kept_groups > rule.groups)
    core::fail_input("{}: topk_group {} of n_group {}, expected no more", in.op(), rule.kept_groups, rule.groups);
  const std::int64_t eligible = experts / rule.groups * rule.kept_groups;
  if (rule.top_k > eligible)
    core::fail_input("{}: num_experts_per_tok {} of {} experts that may be chosen, expected no more", in.op(),
                     rule.top_k, eligible);
}

void check_selection(const OpArguments& in, const ops::RouterRule& rule) {
  const bool hash = rule.selection == Selection::kHash;
  if (rule.selection == Selection::kTopP && (rule.affinity == Affinity::kSigmoid || in.has("bias")))
    core::fail_input(
        "{}: selection=top_p with {}, expected shares that add to one: scoring_func softmax or "
        "normalised_sigmoid, and no bias",
        in.op(), in.has("bias") ? "a bias" : "sigmoid");
  if (rule.selection != Selection::kTopP) in.refuse_settings({"top_p"}, "it belongs to selection=top_p");
  if (hash != in.has("token_ids"))
    core::fail_input("{}: selection={} {} token_ids, expected selection=hash with them, or neither", in.op(),
                     in.text("selection"), hash ? "without" : "with");
  if (hash && rule.top_k != 1)
    core::fail_input("{}: num_experts_per_tok {} with selection=hash, expected 1", in.op(), rule.top_k);
  if (hash) in.require_range("token_ids", 0, kManyTokens);
  if (rule.random_second && (rule.top_k != 2 || rule.selection != Selection::kTopK))
    core::fail_input("{}: random_second with num_experts_per_tok {} and selection={}, expected 2 and top_k", in.op(),
                     rule.top_k, in.text("selection"));
}

void check_devices(const OpArguments& in, const ops::RouterRule& rule, std::int64_t experts) {
  if (rule.device_capacity_factor == 0) {
    in.refuse_settings({"devices", "protected_share", "tokens_a_sequence"}, "device_capacity_factor is 0");
    return;
  }
  if (experts % rule.devices != 0)
    core::fail_input("{}: {} experts on {} devices, expected as many on each", in.op(), experts, rule.devices);
  if (rule.protected_share > 0 && !in.given("tokens_a_sequence"))
    core::fail_input("{}: sequences are exempt with probability protected_share {}, expected tokens_a_sequence",
                     in.op(), rule.protected_share);
}

NamedTensors run_router(const OpArguments& in) {
  const ops::RouterRule rule = rule_of(in);
  const std::int64_t experts = in.size("columns") - rule.shared_logits;
  if (experts < 1)
    core::fail_input("{}: {} logits with shared_logits {}, expected an expert more at least", in.op(),
                     in.size("columns"), rule.shared_logits);
  const Tensor* bias = in.find("bias");
  if (bias != nullptr && in.size("experts") != experts)
    core::fail_input("{}: a bias of {} for {} experts", in.op(), in.size("experts"), experts);
  check_groups(in, rule, experts);
  check_selection(in, rule);
  check_devices(in, rule, experts);
  ops::RouteContext context = context_of(in);
  context.token_ids = in.find("token_ids");
  context.tokens_a_sequence = in.given("tokens_a_sequence") ? in.whole("tokens_a_sequence") : 0;
  const Tensor& logits = in.tensor("logits");
  const Tensor* upstream = in.find("grad_topk_weight");
  if (upstream != nullptr && in.size("K") != rule.top_k)
    core::fail_input("{}: grad_topk_weight {} with num_experts_per_tok {}", in.op(),
                     tensor::to_string(upstream->shape()), rule.top_k);
  const ops::Routing routing = ops::route(logits, bias, rule, context);
  NamedTensors out{{"topk_idx", routing.experts},
                   {"topk_weight", routing.weights},
                   {"chosen_idx", routing.chosen},
                   {"dropped", scalar_result(routing.dropped)},
                   {"skipped", scalar_result(routing.skipped)}};
  if (upstream != nullptr) out.emplace("grad_logits", ops::route_backward(*upstream, logits, routing, rule));
  return out;
}

NamedTensors run_jitter(const OpArguments& in) {
  const ops::RouteContext context = context_of(in);
  const double epsilon = in.number("epsilon");
  NamedTensors out{{"y", ops::jitter(in.tensor("x"), epsilon, context)}};
  if (const Tensor* dy = in.find("dy")) out.emplace("dx", ops::jitter(*dy, epsilon, context));
  return out;
}

std::vector<OpSetting> router_settings() {
  std::vector<OpSetting> settings{
      choice_setting("scoring_func", {"sigmoid", "softmax", "normalised_sigmoid"}, "affinities from logits"),
      choice_setting("selection", {"top_k", "top_p", "hash"}, "how experts are chosen"),
      whole_setting("num_experts_per_tok", "", 1, kManyExperts, "K; top_p: at most so many; required"),
      choice_setting("group_rank", {"none", "max", "top_two", "top_share"},
                     "how groups are ranked: max as DeepSeek-V2, top_two as V3's release, top_share as its report"),
      whole_setting("n_group", "1", 1, kManyExperts, "groups of experts"),
      whole_setting("topk_group", "1", 1, kManyExperts, "groups that may be chosen from"),
      flag_setting("norm_topk_prob", true, "divide by the sum of the chosen affinities"),
      number_setting("routed_scaling_factor", "1", -kLargeFactor, kLargeFactor, "times this"),
      whole_setting("shared_logits", "0", 0, kManyExperts, "leading logits of shared experts"),
      number_setting("top_p", "1", kSmallFactor, 1, "selection=top_p: the shares to reach"),
      flag_setting("random_second", false, "GShard: the second expert is kept at random"),
      number_setting("capacity_factor", "0", 0, 1e6, "of an expert's average share of pairs; 0: no limit"),
      number_setting("device_capacity_factor", "0", 0, 1e6, "of a device's average share of pairs; 0: no limit"),
      whole_setting("devices", "1", 1, kManyExperts, "with device_capacity_factor"),
      number_setting("protected_share", "0.1", 0, 1, "with it: the share of sequences that nothing is dropped of"),
      whole_setting("tokens_a_sequence", "", 1, kManyTokens, "with protected_share")};
  for (OpSetting& setting : random_settings()) settings.push_back(std::move(setting));
  return settings;
}

}  // namespace

std::vector<OpEntry> router_ops() {
  std::vector<OpSetting> jitter_settings{number_setting("epsilon", "0.01", 0, 1, "factors are 1 - epsilon to 1 + it")};
  for (OpSetting& setting : random_settings()) jitter_settings.push_back(std::move(setting));
  const OpElements kFloat = OpElements::kFloat;
  return {{"router",
           "Which experts a token goes to, with what weight: DeepSeek-V3, V2, DeepSeekMoE, GShard, Switch, hash, top-p",
           {{"logits", kFloat, "[tokens, columns]", "shared_logits and one for each expert"},
            {"bias", kFloat, "[experts]", "added to the affinities for the choice alone", false},
            {"token_ids", OpElements::kIndex, "[tokens]", "selection=hash: what is hashed", false},
            {"grad_topk_weight", kFloat, "[tokens, K]", "gradient of topk_weight", false}},
           router_settings(),
           {{"topk_idx", "[tokens, K]", "experts, ascending; -1 for an unused slot"},
            {"topk_weight", "[tokens, K]", "their gate values"},
            {"chosen_idx", "[tokens, K]", "experts before any were dropped"},
            {"dropped", "[1]", "pairs beyond a capacity"},
            {"skipped", "[1]", "second experts left out at random"},
            {"grad_logits", "[tokens, columns]", "with grad_topk_weight"}},
           run_router},
          {"jitter",
           "Switch's noise on the router's input",
           {{"x", kFloat, "[tokens, d]", "values"}, {"dy", kFloat, "[tokens, d]", "gradient of y", false}},
           jitter_settings,
           {{"y", "[tokens, d]", "x times the factors"}, {"dx", "[tokens, d]", "with dy"}},
           run_jitter}};
}

}  // namespace lastbit::check

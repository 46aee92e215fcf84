// DeepSeek-V3's router: groups of experts, a bias for the choice alone, weights of the chosen.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "check/contract_families.h"
#include "check/op_arguments.h"
#include "core/error.h"
#include "core/philox.h"
#include "numerics/elementary.h"
#include "numerics/normal.h"
#include "ops/router.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

ops::RouterRule router_rule(const ContractSettings& settings) {
  ops::RouterRule rule;
  rule.group_rank = settings.text("group_rank") == "max" ? ops::GroupRank::kMax : ops::GroupRank::kTopTwo;
  rule.groups = settings.whole("n_group");
  rule.kept_groups = settings.whole("topk_group");
  rule.top_k = settings.whole("top_k");
  rule.normalise = settings.flag("norm_topk_prob");
  rule.scale = settings.number("scale");
  if (settings.fault("groups") == "none") {
    rule.group_rank = ops::GroupRank::kNone;
    rule.groups = rule.kept_groups = 1;
  }
  return rule;
}

void require_rule(const ContractSettings& settings, std::int64_t experts) {
  const std::int64_t groups = settings.whole("n_group");
  const std::int64_t kept = settings.whole("topk_group");
  if (experts % groups != 0 || experts / groups < 2)
    core::fail_input("router: {} experts in n_group {}, expected groups of one size, two experts at least", experts,
                     groups);
  if (kept > groups || settings.whole("top_k") > experts / groups * kept)
    core::fail_input("router: top_k {} of topk_group {} of n_group {} with {} experts, expected no more than there are",
                     settings.whole("top_k"), kept, groups, experts);
}

// Whether two neighbours in the order of `values` (largest first) at place `cut` are nearly, but not quite, equal.
bool near_tie(std::vector<double> values, std::int64_t cut) {
  constexpr double kNear = 1e-5;  // FP32 sigmoids of any exp() in use agree within 1e-6
  if (cut >= std::ssize(values)) return false;
  std::ranges::sort(values, std::greater<>());
  const double gap = values[static_cast<std::size_t>(cut - 1)] - values[static_cast<std::size_t>(cut)];
  return gap > 0 && gap < kNear;
}

// Whether a row's choice could turn on the last bits of a sigmoid: such rows have no one right answer.
bool undecided(const std::vector<double>& biased, const ContractSettings& settings) {
  const std::int64_t groups = settings.whole("n_group");
  const auto size = static_cast<std::ptrdiff_t>(biased.size()) / groups;
  std::vector<double> ranks;
  for (std::int64_t g = 0; g < groups; ++g) {
    std::vector<double> members(biased.begin() + g * size, biased.begin() + (g + 1) * size);
    std::ranges::sort(members, std::greater<>());
    ranks.push_back(settings.text("group_rank") == "max" ? members[0] : members[0] + members[1]);
  }
  if (near_tie(ranks, settings.whole("topk_group"))) return true;
  std::vector<std::int64_t> order(static_cast<std::size_t>(groups));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(
      order, [&](auto a, auto b) { return ranks[static_cast<std::size_t>(a)] > ranks[static_cast<std::size_t>(b)]; });
  std::vector<double> eligible;
  for (std::int64_t g = 0; g < settings.whole("topk_group"); ++g) {
    const auto first = biased.begin() + order[static_cast<std::size_t>(g)] * size;
    eligible.insert(eligible.end(), first, first + size);
  }
  return near_tie(eligible, settings.whole("top_k"));
}

std::vector<float> draw_bias(const DrawRequest& request) {
  std::vector<float> bias(static_cast<std::size_t>(request.size(1)));
  if (request.family == "ties") return bias;
  const core::RandomStream stream(request.seed, "bias");
  const float middle = request.family == "negative_bias" ? -1.5F : 0.0F;
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = middle + std::round(256 * (stream.uniform(i) - 0.5F)) / 1024;
  return bias;
}

// One row; `tries` tells draws of one token apart.
std::vector<float> draw_row(const DrawRequest& request, std::int64_t token, std::uint32_t tries) {
  const auto experts = static_cast<std::size_t>(request.size(1));
  const std::int64_t of = request.family == "one_expert" ? 0 : token;
  const core::RandomStream stream(request.seed, "logits", static_cast<std::uint32_t>(of), tries);
  std::vector<float> row(experts);
  numerics::fill_normal(stream, 1.5, row);
  for (std::size_t e = 0; e < experts; ++e) {
    if (request.family == "ties") row[e] = static_cast<float>(stream.word(e) % 3) - 1;
    if (request.family == "one_expert" && e < 8) row[e] += 4;
    if (request.family == "constant") row[e] = 0.5F;
    if (request.family == "small_affinities") row[e] = std::clamp(0.4F * row[e] - 6, -7.75F, -4.0F);
    row[e] = std::round(row[e] * 64) / 64;
  }
  return row;
}

NamedTensors draw_router(const DrawRequest& request) {
  const std::int64_t tokens = request.size(0);
  const std::int64_t experts = request.size(1);
  require_rule(request.settings, experts);
  const std::vector<float> bias = draw_bias(request);
  std::vector<float> logits;
  for (std::int64_t token = 0; token < tokens; ++token) {
    constexpr std::uint32_t kTries = 1000;
    for (std::uint32_t tries = 0;; ++tries) {
      core::check(tries < kTries, "a row whose choice is clear");
      const std::vector<float> row = draw_row(request, token, tries);
      std::vector<double> biased(row.size());
      for (std::size_t e = 0; e < row.size(); ++e)
        biased[e] = numerics::sigmoid(static_cast<double>(row[e])) + static_cast<double>(bias[e]);
      if (undecided(biased, request.settings)) continue;
      logits.insert(logits.end(), row.begin(), row.end());
      break;
    }
  }
  return {{"logits", Tensor::from<float>({tokens, experts}, logits)}, {"bias", Tensor::from<float>({experts}, bias)}};
}

// The same tokens with ties broken towards the higher expert.
NamedTensors reversed(const NamedTensors& inputs) {
  NamedTensors result = inputs;
  for (auto& [name, tensor] : result) {
    tensor = tensor.clone();
    auto values = tensor.mutable_values<float>();
    const std::int64_t experts = tensor.shape().back();
    for (std::int64_t row = 0; row < tensor.size() / experts; ++row)
      std::reverse(values.begin() + row * experts, values.begin() + (row + 1) * experts);
  }
  return result;
}

ExpectedOutputs expect_router(const NamedTensors& given, const ContractSettings& settings) {
  const std::int64_t experts = input(given, "logits").dim(1);
  require_rule(settings, experts);
  const bool high = settings.fault("ties") == "high";
  const NamedTensors inputs = high ? reversed(given) : given;
  const Tensor logits = wide(input(inputs, "logits"));
  for (const double value : logits.values<double>())
    if (!std::isfinite(value)) core::fail_input("router: logits has {}, expected finite numbers", value);
  const Tensor bias = wide(input(inputs, "bias"));
  ops::RouterRule rule = router_rule(settings);
  const ops::Routing routing =
      ops::route(logits, settings.fault("bias") == "none" ? nullptr : &bias, rule, ops::RouteContext{});
  const std::int64_t tokens = logits.dim(0);
  std::vector<std::int64_t> chosen(routing.experts.values<std::int64_t>().begin(),
                                   routing.experts.values<std::int64_t>().end());
  std::vector<double> weights(routing.weights.values<double>().begin(), routing.weights.values<double>().end());
  for (std::int64_t token = 0; high && token < tokens; ++token) {
    const std::int64_t begin = token * rule.top_k;
    for (std::int64_t i = 0; i < rule.top_k; ++i) {
      auto& expert = chosen[static_cast<std::size_t>(begin + i)];
      expert = experts - 1 - expert;
    }
    std::reverse(chosen.begin() + begin, chosen.begin() + begin + rule.top_k);
    std::reverse(weights.begin() + begin, weights.begin() + begin + rule.top_k);
  }
  const tensor::Shape shape{tokens, rule.top_k};
  return {{"topk_idx", {Tensor::from<std::int64_t>(shape, chosen)}},
          {"topk_weight", {rounded(weights, DType::kF32, shape)}}};
}

std::vector<Alternative> router_alternatives(const ContractSettings& settings) {
  const bool max = settings.text("group_rank") == "max";
  return {{"equal affinities given to the higher expert", {{"ties", "high"}}},
          {"the bias left out of the choice", {{"bias", "none"}}},
          {"no groups: experts chosen among all", {{"groups", "none"}}},
          {max ? "groups ranked by their two largest" : "groups ranked by their largest affinity",
           {{"group_rank", max ? "top_two" : "max"}}},
          {"weights not scaled", {{"scale", "1"}}},
          {"weights not normalised", {{"norm_topk_prob", settings.flag("norm_topk_prob") ? "false" : "true"}}}};
}

}  // namespace

std::vector<Contract> router_contracts() {
  Contract contract{"router",
                    "The top_k experts by sigmoid + bias among the best groups, ascending, and their weights"};
  contract.axes = {"tokens", "experts"};
  contract.inputs = {{"logits", "f32", "[tokens, experts]", "affinities are their sigmoids"},
                     {"bias", "f32", "[experts]", "added for the choice, not for the weights"}};
  contract.outputs = {
      {{"topk_idx", "i64", "[tokens, top_k]", "ascending; of equal affinities the lower expert, and group, wins"},
       ToleranceClass::kBitwise,
       0,
       "no row is drawn whose choice turns on less than 1e-5, except between affinities that are equal"},
      {{"topk_weight", "f32", "[tokens, top_k]", "affinity / sum of the chosen * scale"},
       ToleranceClass::kUlp,
       40,
       "a fast exp() is within 2 + 1.2 |x| ulp, with |x| < 8 for all that matter: 12 ulp above and below the division, "
       "8 additions and 3 more roundings"}};
  contract.settings = {whole_setting("n_group", "8", 1, 1024, "groups of experts"),
                       whole_setting("topk_group", "4", 1, 1024, "groups that experts are chosen from"),
                       whole_setting("top_k", "8", 1, 1024, "experts a token"),
                       choice_setting("group_rank", {"top_two", "max"}, "what ranks a group"),
                       flag_setting("norm_topk_prob", true, "weights add up to `scale`"),
                       number_setting("scale", "2.5", 1e-6, 1e6, "routed_scaling_factor")};
  contract.shapes = {{1, 32}, {7, 64}, {65, 256}};
  contract.families = {"normal", "ties", "constant", "one_expert", "negative_bias", "small_affinities"};
  contract.draw = draw_router;
  contract.expect = expect_router;
  contract.alternatives = router_alternatives;
  return {contract};
}

}  // namespace lastbit::check

// Losses that keep the experts' loads even. Their gradients come with every call: nothing is upstream of them.
#include <cstdint>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "ops/balance.h"

namespace lastbit::check {
namespace {

using ops::Affinity;
using tensor::NamedTensors;
using tensor::Tensor;

NamedTensors results(ops::BalanceLoss loss, const tensor::Shape& logits_shape) {
  NamedTensors out{{"loss", scalar_result(loss.loss)}, {"grad_logits", loss.dlogits.reshape(logits_shape)}};
  if (loss.f.size() > 0) {
    out.emplace("f", loss.f);
    out.emplace("P", loss.p);
  }
  return out;
}

// [sequences, T, columns] and [tokens, columns] as rows.
Tensor as_rows(const Tensor& x) { return x.reshape({x.size() / x.dim(-1), x.dim(-1)}); }

Affinity affinity_of(const OpArguments& in) {
  return in.choice<Affinity>("scoring_func", {{"sigmoid", Affinity::kSigmoid}, {"softmax", Affinity::kSoftmax}});
}

// logits, choice and the rest of BalanceInput, checked.
struct Choice {
  Tensor logits;
  Tensor choice;
  std::int64_t experts = 0;
};

Choice choice_of(const OpArguments& in, Affinity affinity) {
  Choice result;
  result.logits = as_rows(in.tensor("logits"));
  const std::int64_t shared = in.whole("shared_logits");
  result.experts = in.size("columns") - shared;
  if (result.experts < 1)
    core::fail_input("{}: {} logits with shared_logits {}, expected an expert more at least", in.op(),
                     in.size("columns"), shared);
  if (const Tensor* choice = in.find("topk_idx")) {
    in.refuse_settings({"num_experts_per_tok"}, "topk_idx has K columns");
    in.require_range("topk_idx", -1, result.experts);
    result.choice = as_rows(*choice);
    return result;
  }
  const std::int64_t top_k = in.whole("num_experts_per_tok");
  if (top_k > result.experts)
    core::fail_input("{}: num_experts_per_tok {} of {} experts, expected no more", in.op(), top_k, result.experts);
  result.choice = ops::unbiased_choice(result.logits, affinity, top_k, shared);
  return result;
}

ops::BalanceInput input_of(const OpArguments& in, const Choice& choice, Affinity affinity) {
  ops::BalanceInput input{choice.logits, choice.choice, affinity, in.number("alpha"), 0, in.whole("shared_logits")};
  return input;
}

std::int64_t devices_of(const OpArguments& in, std::int64_t experts) {
  const std::int64_t devices = in.whole("devices");
  if (experts % devices != 0)
    core::fail_input("{}: {} experts on {} devices, expected as many on each", in.op(), experts, devices);
  return devices;
}

NamedTensors run_sequence(const OpArguments& in) {
  const Affinity affinity = affinity_of(in);
  const Choice choice = choice_of(in, affinity);
  ops::BalanceInput input = input_of(in, choice, affinity);
  input.tokens_a_sequence = in.size("T");
  return results(ops::expert_balance_loss(input), in.tensor("logits").shape());
}

NamedTensors run_batch(const OpArguments& in) {
  const Affinity affinity = affinity_of(in);
  const Choice choice = choice_of(in, affinity);
  return results(ops::expert_balance_loss(input_of(in, choice, affinity)), in.tensor("logits").shape());
}

NamedTensors run_device(const OpArguments& in) {
  const Affinity affinity = affinity_of(in);
  const Choice choice = choice_of(in, affinity);
  return results(ops::device_balance_loss(input_of(in, choice, affinity), devices_of(in, choice.experts)),
                 in.tensor("logits").shape());
}

NamedTensors run_communication(const OpArguments& in) {
  const Affinity affinity = affinity_of(in);
  const Choice choice = choice_of(in, affinity);
  const std::int64_t devices = devices_of(in, choice.experts);
  return results(ops::communication_balance_loss(input_of(in, choice, affinity), devices, in.whole("kept_devices")),
                 in.tensor("logits").shape());
}

NamedTensors run_gshard(const OpArguments& in) {
  const Tensor& logits = in.tensor("logits");
  const std::int64_t group = in.given("tokens_a_group") ? in.whole("tokens_a_group") : in.size("tokens");
  if (in.size("tokens") % group != 0)
    core::fail_input("{}: {} tokens in groups of {}, expected groups of one size", in.op(), in.size("tokens"), group);
  return results(ops::gshard_loss(logits, in.number("alpha"), group), logits.shape());
}

NamedTensors run_switch(const OpArguments& in) {
  const Tensor& logits = in.tensor("logits");
  return results(ops::switch_loss(logits, in.number("alpha")), logits.shape());
}

NamedTensors run_z(const OpArguments& in) {
  const Tensor& logits = in.tensor("logits");
  return results(ops::router_z_loss(logits, in.number("coefficient")), logits.shape());
}

OpSetting alpha(const std::string& fallback) {
  return number_setting("alpha", fallback, -kLargeFactor, kLargeFactor, "the loss's weight");
}

std::vector<OpOutput> outputs(const std::string& logits, const std::string& f) {
  return {{"loss", "[1]", "in f64"},
          {"grad_logits", logits, "of the loss"},
          {"f", f, "counts, scaled; in f64"},
          {"P", f, "mean shares; in f64"}};
}

// Of the losses that count a choice; `sigmoid`: of the two kinds of affinity the default.
OpEntry counting_entry(const std::string& name, const std::string& description, bool sigmoid, const std::string& weight,
                       const std::string& f, tensor::NamedTensors (*run)(const OpArguments&)) {
  const std::vector<std::string> kinds =
      sigmoid ? std::vector<std::string>{"sigmoid", "softmax"} : std::vector<std::string>{"softmax", "sigmoid"};
  const std::string rows = name == "seq_balance_loss" ? "sequences, T" : "tokens";
  return {name,
          description,
          {{"logits", OpElements::kFloat, "[" + rows + ", columns]", "of the router: shared_logits, then experts"},
           {"topk_idx", OpElements::kIndex, "[" + rows + ", K]",
            "the choice that f counts (default: the experts of largest affinity)", false}},
          {alpha(weight), choice_setting("scoring_func", kinds, "affinities; P averages their shares"),
           whole_setting("num_experts_per_tok", "", 1, kManyExperts, "K; required without topk_idx"),
           whole_setting("shared_logits", "0", 0, kManyExperts, "leading logits of shared experts")},
          outputs("[" + rows + ", columns]", f),
          run};
}

OpEntry device_entry(OpEntry entry) {
  entry.settings.push_back(
      whole_setting("devices", "", 1, kManyExperts, "of experts / devices consecutive experts; required"));
  return entry;
}

OpEntry communication_entry() {
  OpEntry entry = device_entry(counting_entry("communication_balance_loss",
                                              "DeepSeek-V2, equations 29 to 31: by the devices tokens are sent to",
                                              false, "0.02", "[1, devices]", run_communication));
  entry.inputs.back().required = true;
  entry.inputs.back().meaning = "where tokens are sent: the router's choice among kept devices";
  std::erase_if(entry.settings, [](const OpSetting& setting) { return setting.key == "num_experts_per_tok"; });
  entry.settings.push_back(
      whole_setting("kept_devices", "", 1, kManyExperts, "M, the most devices that a token is sent to; required"));
  return entry;
}

OpEntry logits_entry(const std::string& name, const std::string& description, std::vector<OpSetting> settings,
                     tensor::NamedTensors (*run)(const OpArguments&)) {
  return {name,
          description,
          {{"logits", OpElements::kFloat, "[tokens, experts]", "of the router"}},
          std::move(settings),
          outputs("[tokens, experts]", "[groups, experts]"),
          run};
}

}  // namespace

std::vector<OpEntry> balance_ops() {
  std::vector<OpEntry> entries{
      counting_entry("seq_balance_loss",
                     "DeepSeek-V3, equations 17 to 20: by sequence (softmax: seq_aux of V2's release)", true, "0.0001",
                     "[sequences, experts]", run_sequence),
      counting_entry("batch_balance_loss", "The same over all tokens at once", true, "0.0001", "[1, experts]",
                     run_batch),
      counting_entry("expert_balance_loss", "DeepSeekMoE, equations 12 to 14", false, "0.01", "[1, experts]",
                     run_batch),
      device_entry(counting_entry("device_balance_loss", "DeepSeekMoE, equations 15 to 17", false, "0.05",
                                  "[1, devices]", run_device)),
      communication_entry(),
      logits_entry("gshard_loss", "GShard, algorithm 1",
                   {alpha("1"), whole_setting("tokens_a_group", "", 1, kManyTokens, "(default: all tokens)")},
                   run_gshard),
      logits_entry("switch_loss", "Switch Transformer, equations 4 to 6", {alpha("0.01")}, run_switch),
      logits_entry("router_z_loss", "Mean square of the logits' log-sum-exp (ST-MoE, equation 5)",
                   {number_setting("coefficient", "0.001", -kLargeFactor, kLargeFactor, "the loss's weight")}, run_z)};
  entries.back().outputs.resize(2);  // it counts nothing
  return entries;
}

}  // namespace lastbit::check

// Losses on the logits of a language model: cross-entropy and GRPO.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "ops/cross_entropy.h"
#include "train/grpo.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

// Of FP64 logits: their differences and the square of a log-sum-exp stay finite.
constexpr double kLargestLogit = 1e150;

// Every row has a finite logit, its target's among them.
template <typename T>
void check_rows(const OpArguments& in) {
  const auto logits = in.tensor("logits").values<T>();
  const auto targets = in.tensor("targets").values<std::int64_t>();
  const auto vocabulary = static_cast<std::size_t>(in.size("vocabulary"));
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const auto row = logits.subspan(t * vocabulary, vocabulary);
    const T largest = *std::ranges::max_element(row);
    if (!std::isfinite(largest)) core::fail_input("{}: all logits of row {} are -inf", in.op(), t);
    for (const T logit : row)
      if (std::isfinite(logit) && std::abs(static_cast<double>(logit)) > kLargestLogit)
        core::fail_input("{}: a logit of row {} is {}, expected magnitudes up to {}", in.op(), t, logit, kLargestLogit);
    if (targets[t] != ops::kNoTarget && !std::isfinite(row[static_cast<std::size_t>(targets[t])]))
      core::fail_input("{}: the logit of target {} of row {} is -inf: its loss is infinite", in.op(), targets[t], t);
  }
}

// The gradient's factor, weight (1 + 2 z lse) / sum with a sum of 1 or more, is a number of the logits' dtype.
void check_gradient(const OpArguments& in, const ops::CrossEntropy& forward, const ops::LossWeights& weights) {
  double largest = weights.per_token.empty() ? 1 : 0;
  for (const double weight : weights.per_token) largest = std::max(largest, std::abs(weight));
  double normaliser = 0;
  for (const double value : forward.log_sum_exp.values<double>()) normaliser = std::max(normaliser, std::abs(value));
  const double factor = std::abs(weights.scale) * largest * (1 + 2 * std::abs(weights.z_loss) * normaliser);
  const double most = in.dtype() == DType::kF64 ? std::numeric_limits<double>::max()
                                                : static_cast<double>(std::numeric_limits<float>::max());
  if (!std::isfinite(forward.loss) || !(factor < most))
    core::fail_input("{}: a loss of {} and gradients up to {}, expected finite ones: smaller weights or z_loss",
                     in.op(), forward.loss, factor);
}

// The same loss with the vocabulary in pieces.
ops::CrossEntropy chunked(const OpArguments& in, std::int64_t chunk, const ops::LossWeights& weights, Tensor& grad) {
  const Tensor& logits = in.tensor("logits");
  const std::int64_t vocabulary = in.size("vocabulary");
  ops::OnlineCrossEntropy online(in.tensor("targets"), vocabulary);
  const auto piece = [&](std::int64_t first) {
    return logits.slice(1, first, std::min(first + chunk, vocabulary)).contiguous();
  };
  for (std::int64_t first = 0; first < vocabulary; first += chunk) online.add_chunk(piece(first), first);
  const auto width = static_cast<std::int64_t>(tensor::size_of(logits.dtype()));
  const auto target = grad.mutable_bytes();
  for (std::int64_t first = 0; first < vocabulary; first += chunk) {
    Tensor part = piece(first).clone();
    online.gradient_of_chunk(part, first, weights);
    const std::int64_t row_bytes = part.dim(1) * width;
    for (std::int64_t t = 0; t < part.dim(0); ++t)
      std::ranges::copy(
          part.bytes().subspan(static_cast<std::size_t>(t * row_bytes), static_cast<std::size_t>(row_bytes)),
          target.begin() + (t * vocabulary + first) * width);
  }
  return online.finish(weights);
}

NamedTensors run_cross_entropy(const OpArguments& in) {
  in.require_range("targets", ops::kNoTarget, in.size("vocabulary"));
  if (in.dtype() == DType::kF64)
    check_rows<double>(in);
  else
    check_rows<float>(in);
  const Tensor& logits = in.tensor("logits");
  const Tensor& targets = in.tensor("targets");
  const auto with_target = std::ranges::count_if(targets.values<std::int64_t>(),
                                                 [](std::int64_t target) { return target != ops::kNoTarget; });
  ops::LossWeights weights;
  weights.scale =
      in.given("scale") ? in.number("scale") : 1 / static_cast<double>(std::max<std::ptrdiff_t>(with_target, 1));
  weights.z_loss = in.number("z_loss");
  if (const Tensor* per_token = in.find("weights")) weights.per_token = per_token->values<double>();
  check_gradient(in, ops::cross_entropy(logits, targets, weights), weights);
  Tensor grad = logits.clone();
  const ops::CrossEntropy result = in.given("chunk") ? chunked(in, in.whole("chunk"), weights, grad)
                                                     : ops::cross_entropy_and_gradient(grad, targets, weights);
  return {{"loss", scalar_result(result.loss)},
          {"nll", result.nll},
          {"log_sum_exp", result.log_sum_exp},
          {"grad_logits", grad}};
}

train::GrpoOutputs outputs_of(const OpArguments& in) {
  const auto lengths = in.tensor("lens").values<std::int64_t>();
  return {in.tensor("tokens"), {lengths.begin(), lengths.end()}};
}

NamedTensors run_log_probabilities(const OpArguments& in) {
  return {{"logp", train::token_log_probabilities(in.tensor("logits"), outputs_of(in))}};
}

NamedTensors run_grpo(const OpArguments& in) {
  if (in.has("rewards") == in.has("adv"))
    core::fail_input("{}: found {} of rewards and adv, expected one of them", in.op(),
                     in.has("adv") ? "both" : "neither");
  if (in.has("adv")) in.refuse_settings({"deviation"}, "adv is given");
  const std::vector<double> advantages =
      in.has("adv")
          ? doubles(in.tensor("adv"))
          : train::group_advantages(doubles(in.tensor("rewards")), train::find_group_deviation(in.text("deviation")));
  const train::GrpoRule rule{train::find_grpo_reading(in.text("reading")), in.number("clip_range"),
                             in.number("kl_weight")};
  const train::GrpoLoss loss = train::grpo_loss(in.tensor("logits"), in.tensor("logp_old"), in.tensor("logp_ref"),
                                                advantages, outputs_of(in), rule);
  Tensor k3 = vector_result(loss.k3);
  if (rule.reading != train::GrpoReading::kSequence) k3 = k3.reshape({in.size("G"), in.size("T")});
  return {{"loss", scalar_result(loss.loss)},
          {"kl", scalar_result(loss.kl)},
          {"clipped_share", scalar_result(loss.clipped_share)},
          {"k3", k3},
          {"adv", vector_result(advantages)},
          {"grad_logits", loss.gradient}};
}

std::vector<OpInput> generated(const std::string& of) {
  return {{"logits", OpElements::kLogits, "[G, T, V]", of},
          {"tokens", OpElements::kIndex, "[G, T]", "what was generated"},
          {"lens", OpElements::kIndex, "[G]", "of the outputs: what lies behind is padding"}};
}

OpEntry grpo_entry() {
  std::vector<OpInput> inputs = generated("of the policy");
  const OpElements kFloat = OpElements::kFloat;
  inputs.push_back({"logp_old", kFloat, "[G, T]", "ln(pi) of the tokens under the policy that generated them"});
  inputs.push_back({"logp_ref", kFloat, "[G, T]", "likewise under the reference"});
  inputs.push_back({"rewards", kFloat, "[G]", "of the outputs", false});
  inputs.push_back({"adv", kFloat, "[G]", "advantages instead of rewards", false});
  return {"grpo",
          "The GRPO loss of one group of outputs",
          std::move(inputs),
          {choice_setting("reading", {"token", "seq", "tokmean"},
                          "token as DeepSeekMath, seq as DeepSeek-V3's equations, tokmean over all tokens"),
           choice_setting("deviation", {"popstd", "sampstd"}, "of the rewards: over G or G - 1"),
           number_setting("clip_range", "0.2", 0, kLargeFactor, "of the ratio around 1"),
           number_setting("kl_weight", "0.04", 0, kLargeFactor, "beta")},
          {{"loss", "[1]", "-J, in f64"},
           {"kl", "[1]", "J's share of k3"},
           {"clipped_share", "[1]", "of ratios whose gradient the clip stops"},
           {"k3", "[G, T]", "in f64; reading=seq: [G]"},
           {"adv", "[G]", "in f64"},
           {"grad_logits", "[G, T, V]", "of the loss"}},
          run_grpo};
}

}  // namespace

std::vector<OpEntry> loss_ops() {
  return {{"cross_entropy",
           "Cross-entropy of the next token with its gradient, whole or with the vocabulary in chunks",
           {{"logits", OpElements::kLogits, "[T, vocabulary]", "of the tokens"},
            {"targets", OpElements::kIndex, "[T]", "ids; -1: no target"},
            {"weights", OpElements::kDouble, "[T]", "of the tokens, beside scale", false}},
           {number_setting("scale", "", -kLargeFactor, kLargeFactor, "weight of every token (default: 1 / targets)"),
            number_setting("z_loss", "0", 0, kLargeFactor, "coefficient of the log-sum-exp's square"),
            whole_setting("chunk", "", 1, kManyTokens, "columns at a time (default: all)")},
           {{"loss", "[1]", "in f64"},
            {"nll", "[T]", "in f64; 0 without a target"},
            {"log_sum_exp", "[T]", "in f64"},
            {"grad_logits", "[T, vocabulary]", "of the loss"}},
           run_cross_entropy},
          {"token_log_probabilities",
           "ln softmax(logits) at the generated tokens",
           generated("of a policy"),
           {},
           {{"logp", "[G, T]", "0 where there is padding"}},
           run_log_probabilities},
          grpo_entry()};
}

}  // namespace lastbit::check

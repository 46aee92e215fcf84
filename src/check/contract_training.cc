// Cross-entropy with its gradient, and AdamW with BF16 moments.
#include <algorithm>
#include <cmath>

#include "check/contract_families.h"
#include "check/op_arguments.h"
#include "core/error.h"
#include "core/philox.h"
#include "numerics/bf16.h"
#include "numerics/elementary.h"
#include "ops/cross_entropy.h"
#include "train/adamw.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

// ---- cross-entropy

NamedTensors draw_cross_entropy(const DrawRequest& request) {
  const std::int64_t tokens = request.size(0);
  const std::int64_t vocabulary = request.size(1);
  const bool own = request.family == "peaked" || request.family == "no_targets";
  Tensor logits = draw_activations(own ? "normal" : request.family, dtype_named(request.settings.text("logits_type")),
                                   {tokens, vocabulary}, request.seed, "logits");
  const core::RandomStream stream(request.seed, "targets");
  std::vector<std::int64_t> targets(static_cast<std::size_t>(tokens));
  for (std::size_t i = 0; i < targets.size(); ++i) {
    targets[i] = stream.word(2 * i) % vocabulary;
    if (request.family == "no_targets" && (i % 3 == 1 || stream.word(2 * i + 1) % 4 == 0)) targets[i] = ops::kNoTarget;
  }
  if (request.family == "peaked") {
    std::vector<float> values = floats_of(logits);
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const std::uint64_t column = i % 2 == 0 ? static_cast<std::uint64_t>(targets[i])
                                              : stream.word(2 * i + 1) % static_cast<std::uint64_t>(vocabulary);
      values[i * static_cast<std::size_t>(vocabulary) + column] = 60;
    }
    logits = rounded({values.begin(), values.end()}, logits.dtype(), logits.shape());
  }
  return {{"logits", logits}, {"targets", Tensor::from<std::int64_t>({tokens}, targets)}};
}

// Terms that a kernel adds one after the other at most: lanes and blocks add up in trees above that.
constexpr double kLongestChain = 1024;

ExpectedOutputs expect_cross_entropy(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor& given = input(inputs, "logits");
  const Tensor& targets = input(inputs, "targets");
  const auto ids = targets.values<std::int64_t>();
  const std::int64_t vocabulary = given.dim(1);
  double count = 0;
  for (const std::int64_t id : ids) {
    if (id < ops::kNoTarget || id >= vocabulary)
      core::fail_input("cross_entropy: targets has {}, expected -1 to {}", id, vocabulary - 1);
    count += id == ops::kNoTarget ? 0 : 1;
  }
  double weight = count == 0 ? 0 : 1 / count;
  if (settings.fault("mean") == "all") weight = 1 / static_cast<double>(ids.size());
  if (settings.fault("mean") == "none") weight = 1;
  Tensor gradient = wide(given).clone();
  const std::vector<double> logits(gradient.values<double>().begin(), gradient.values<double>().end());
  const ops::CrossEntropy result = ops::cross_entropy_and_gradient(gradient, targets, {weight, {}, 0});
  const auto nll = result.nll.values<double>();
  const auto lse = result.log_sum_exp.values<double>();
  const auto values = gradient.values<double>();
  // exp() within 4 ulp and the difference before it within half an ulp of the largest difference that matters (128).
  const double sum = (std::min(static_cast<double>(vocabulary), kLongestChain) + 32) * kUnitF32 + 0x1p-17;
  std::vector<float> nll_bound;
  std::vector<float> lse_bound;
  std::vector<float> gradient_bound;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const double target =
        ids[i] < 0 ? 0 : logits[i * static_cast<std::size_t>(vocabulary) + static_cast<std::size_t>(ids[i])];
    const double round = 4 * kUnitF32 * (std::abs(lse[i]) + std::abs(target));
    nll_bound.push_back(ids[i] < 0 ? 0 : static_cast<float>(sum + round));
    lse_bound.push_back(static_cast<float>(sum + round));
    for (std::int64_t j = 0; j < vocabulary; ++j) {
      const double value = values[i * static_cast<std::size_t>(vocabulary) + static_cast<std::size_t>(j)];
      const double p = j == ids[i] ? weight : std::abs(value);
      const double error = 2 * sum * p + 0x1p-126;
      const bool narrow = settings.text("gradient_type") == "bf16";
      const float bound = narrow ? rounding_bound(value, error, DType::kBF16) : static_cast<float>(error);
      gradient_bound.push_back(ids[i] < 0 ? 0 : bound);
    }
  }
  const DType type = dtype_named(settings.text("gradient_type"));
  const Shape shape{given.dim(0), vocabulary};
  return {
      {"nll",
       {rounded({nll.begin(), nll.end()}, DType::kF32, targets.shape()),
        Tensor::from<float>(targets.shape(), nll_bound)}},
      {"lse",
       {rounded({lse.begin(), lse.end()}, DType::kF32, targets.shape()),
        Tensor::from<float>(targets.shape(), lse_bound)}},
      {"dlogits", {rounded({values.begin(), values.end()}, type, shape), Tensor::from<float>(shape, gradient_bound)}}};
}

std::vector<Alternative> cross_entropy_alternatives(const ContractSettings&) {
  return {{"the mean taken over all tokens, with and without a target", {{"mean", "all"}}},
          {"the gradient of the sum rather than of the mean", {{"mean", "none"}}}};
}

Contract cross_entropy_contract() {
  Contract contract{"cross_entropy", "Loss of the next token, and the gradient of its mean over tokens with a target"};
  contract.axes = {"tokens", "vocabulary"};
  contract.inputs = {{"logits", "=logits_type", "[tokens, vocabulary]", "scores"},
                     {"targets", "i64", "[tokens]", "ids, -1: none"}};
  const char* const derivation =
      "a sum of exponentials in FP32, chains of at most 1024 additions and trees above: 1056 x 2^-24; exp() of "
      "differences within 2^-17";
  contract.outputs = {
      {{"nll", "f32", "[tokens]", "0 without a target"},
       ToleranceClass::kBand,
       0,
       fmt::format("{}; and the roundings of lse - logit", derivation)},
      {{"lse", "f32", "[tokens]", "log of the sum of exponentials"}, ToleranceClass::kBand, 0, derivation},
      {{"dlogits", "=gradient_type", "[tokens, vocabulary]", "0 without a target"},
       ToleranceClass::kBand,
       0,
       fmt::format(
           "{}; twice, of the softmax (of its weight at the target); in BF16 the rounding of any number that near",
           derivation)}};
  contract.settings = {choice_setting("logits_type", {"f32", "bf16"}, "format of the logits"),
                       choice_setting("gradient_type", {"f32", "bf16"}, "format of their gradient")};
  contract.shapes = {{1, 1}, {7, 300}, {33, 2050}};
  contract.families = {"normal", "outlier", "cancelling", "sparse", "zero_rows", "constant", "peaked", "no_targets"};
  contract.draw = draw_cross_entropy;
  contract.expect = expect_cross_entropy;
  contract.alternatives = cross_entropy_alternatives;
  return contract;
}

// ---- AdamW

NamedTensors draw_adamw(const DrawRequest& request) {
  const Shape shape{request.size(0)};
  const bool first = request.family == "first_step";
  const std::string family = first ? "normal" : request.family;
  std::vector<float> v = floats_of(draw_activations(family, DType::kBF16, shape, request.seed, "v"));
  for (float& value : v) value = first ? 0 : numerics::round_bf16(value * value);
  Tensor m =
      first ? Tensor::zeros(DType::kBF16, shape) : draw_activations(family, DType::kBF16, shape, request.seed, "m");
  return {{"w", draw_activations("normal", DType::kF32, shape, request.seed, "w")},
          {"grad", draw_activations(family, DType::kF32, shape, request.seed, "grad")},
          {"m", m},
          {"v", rounded({v.begin(), v.end()}, DType::kBF16, shape)}};
}

ExpectedOutputs expect_adamw(const NamedTensors& inputs, const ContractSettings& settings) {
  Tensor w = input(inputs, "w").clone();
  Tensor m = input(inputs, "m").clone();
  Tensor v = input(inputs, "v").clone();
  const Tensor& grad = input(inputs, "grad");
  train::AdamWRule rule{settings.number("beta1"), settings.number("beta2"), settings.number("eps"),
                        settings.number("weight_decay"), train::find_moment_use(settings.text("moment_use"))};
  if (settings.fault("decay") == "none") rule.weight_decay = 0;
  train::AdamWStep step{settings.whole("step"), settings.number("learning_rate"), 1};
  if (settings.fault("correction") == "none") step.number = 1'000'000'000;
  train::adamw_step(w.mutable_values<float>(), grad.values<float>(), m.mutable_values<std::uint16_t>(),
                    v.mutable_values<std::uint16_t>(), rule, step);
  const std::vector<float> before_m = floats_of(input(inputs, "m"));
  const std::vector<float> before_v = floats_of(input(inputs, "v"));
  const std::vector<float> before_w = floats_of(input(inputs, "w"));
  const std::vector<float> new_m = floats_of(m);
  const std::vector<float> new_v = floats_of(v);
  const std::vector<float> new_w = floats_of(w);
  const auto g = grad.values<float>();
  const double rate = step.learning_rate / (1 - numerics::pow(rule.beta1, static_cast<double>(step.number)));
  const double correction = std::sqrt(1 - numerics::pow(rule.beta2, static_cast<double>(step.number)));
  // 1 - beta^t in FP32, of a beta in FP32, is off by t beta^t / (1 - beta^t) 2^-24; there are ten more roundings.
  const auto of_correction = [&](double beta) {
    const auto t = static_cast<double>(step.number);
    const double power = numerics::pow(beta, t);
    return t * power / (1 - power);
  };
  const double roundings = 10 + of_correction(rule.beta1) + of_correction(rule.beta2);
  const bool from_rounded = settings.text("moment_use") == "update_from_rounded";
  std::vector<float> w_bound;
  std::vector<float> m_bound;
  std::vector<float> v_bound;
  for (std::size_t i = 0; i < new_w.size(); ++i) {
    const double gradient = g[i];
    const double kept_m = rule.beta1 * static_cast<double>(before_m[i]);
    const double kept_v = rule.beta2 * static_cast<double>(before_v[i]);
    // 1 - beta may have been taken in FP32: off by 2^-24 of 1.
    const double m_error =
        kUnitF32 * (4 * (std::abs(kept_m) + std::abs((1 - rule.beta1) * gradient)) + std::abs(gradient));
    const double exact_v = kept_v + (1 - rule.beta2) * gradient * gradient;
    m_bound.push_back(rounding_bound(kept_m + (1 - rule.beta1) * gradient, m_error, DType::kBF16));
    v_bound.push_back(rounding_bound(exact_v, kUnitF32 * (4 * exact_v + gradient * gradient), DType::kBF16));
    // The update's error: what the moments that move the weight may be off by (of sqrt(v) half of v's), ten roundings.
    const double root = std::sqrt(static_cast<double>(new_v[i])) / correction + rule.epsilon;
    const double update = rate * std::abs(static_cast<double>(new_m[i])) / root;
    const double of_m = from_rounded ? static_cast<double>(m_bound.back()) : m_error;
    const double of_v = !from_rounded   ? (new_v[i] == 0 ? 0 : 0.5 * kUnitF32 * (4 + gradient * gradient / exact_v))
                        : new_v[i] == 0 ? 0
                                        : 0.5 * static_cast<double>(v_bound.back()) / static_cast<double>(new_v[i]);
    w_bound.push_back(static_cast<float>(rate * of_m / root + update * of_v + roundings * kUnitF32 * update +
                                         3 * kUnitF32 * std::abs(static_cast<double>(before_w[i]))));
  }
  const Shape& shape = w.shape();
  return {{"w", {w, Tensor::from<float>(shape, w_bound)}},
          {"m", {m, Tensor::from<float>(shape, m_bound)}},
          {"v", {v, Tensor::from<float>(shape, v_bound)}}};
}

std::vector<Alternative> adamw_alternatives(const ContractSettings& settings) {
  const bool from_rounded = settings.text("moment_use") == "update_from_rounded";
  return {{"no weight decay", {{"decay", "none"}}},
          {"no bias correction", {{"correction", "none"}}},
          {from_rounded ? "the update from moments before they are rounded" : "the update from rounded moments",
           {{"moment_use", from_rounded ? "update_from_unrounded" : "update_from_rounded"}}}};
}

Contract adamw_contract() {
  Contract contract{"adamw", "One step of AdamW on FP32 weights with moments in BF16, as torch.optim.AdamW orders it"};
  contract.axes = {"n"};
  contract.inputs = {{"w", "f32", "[n]", "weights"},
                     {"grad", "f32", "[n]", "gradient"},
                     {"m", "bf16", "[n]", "first moment"},
                     {"v", "bf16", "[n]", "second moment"}};
  contract.outputs = {
      {{"w", "f32", "[n]", "weights"},
       ToleranceClass::kBand,
       0,
       "ten roundings of the update, bias corrections in FP32, three roundings of the weight; and what a moment moves "
       "whose rounding to "
       "BF16 may be either of two neighbours"},
      {{"m", "bf16", "[n]", "first moment"},
       ToleranceClass::kBand,
       0,
       "two products and a sum in FP32: 4 x 2^-24 of their magnitudes, 1 - beta off by 2^-24; right is the rounding to "
       "BF16 of "
       "any number within that of the exact one"},
      {{"v", "bf16", "[n]", "second moment"}, ToleranceClass::kBand, 0, "the same of a sum of positive terms"}};
  contract.settings = {
      number_setting("learning_rate", "2.2e-4", 0, 1, "of the step"),
      number_setting("beta1", "0.9", 1e-6, 0.999999, "decay of m"),
      number_setting("beta2", "0.95", 1e-6, 0.999999, "decay of v"),
      number_setting("eps", "1e-8", 1e-20, 1, "added to the root"),
      number_setting("weight_decay", "0.1", 0, 1, "decoupled"),
      whole_setting("step", "7", 1, 1'000'000'000, "the first step is 1"),
      choice_setting("moment_use", {"update_from_rounded", "update_from_unrounded"}, "which moments move the weights")};
  contract.shapes = {{1}, {17}, {4099}};
  contract.families = {"normal", "outlier", "cancelling", "sparse", "zero_rows", "constant", "first_step"};
  contract.draw = draw_adamw;
  contract.expect = expect_adamw;
  contract.alternatives = adamw_alternatives;
  return contract;
}

}  // namespace

std::vector<Contract> training_contracts() { return {cross_entropy_contract(), adamw_contract()}; }

}  // namespace lastbit::check

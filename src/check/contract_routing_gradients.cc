// Gradients of the router, of the way back from experts, and of the embedding.
#include <cmath>

#include "check/contract_families.h"
#include "check/op_arguments.h"
#include "core/error.h"
#include "core/philox.h"
#include "ops/embedding.h"
#include "ops/permutation.h"
#include "ops/router.h"
#include "tensor/cast.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Shape;
using tensor::Tensor;

constexpr double kLeastSum = 0x1p-140;  // what products that underflow in FP32 lose at most

Expected f32_within(const std::vector<double>& exact, const std::vector<double>& errors, const Shape& shape) {
  std::vector<float> bound;
  for (std::size_t i = 0; i < exact.size(); ++i) bound.push_back(rounding_bound(exact[i], errors[i], DType::kF32));
  return {rounded(exact, DType::kF32, shape), Tensor::from<float>(shape, bound)};
}

// Errors (bad input): an element outside [least, end).
void require_indices(const char* contract, const char* name, const Tensor& indices, std::int64_t least,
                     std::int64_t end) {
  for (const std::int64_t index : indices.values<std::int64_t>())
    if (index < least || index >= end)
      core::fail_input("{}: {} has {}, expected {} to {}", contract, name, index, least, end - 1);
}

// ---- the router

NamedTensors draw_router_gradient(const DrawRequest& request) {
  const std::int64_t tokens = request.size(0);
  const std::int64_t experts = request.size(1);
  const std::int64_t top_k = request.settings.whole("top_k");
  if (top_k > experts) core::fail_input("router_backward: top_k = {}, expected at most {} experts", top_k, experts);
  const bool small = request.family == "small_affinities";
  Tensor logits =
      draw_activations(small ? "normal" : request.family, DType::kF32, {tokens, experts}, request.seed, "logits")
          .clone();
  if (small)
    for (float& logit : logits.mutable_values<float>()) logit -= 6;
  ops::RouterRule rule;
  rule.top_k = top_k;
  return {{"dweights", draw_activations("normal", DType::kF32, {tokens, top_k}, request.seed, "dweights")},
          {"topk_idx", ops::route(logits, nullptr, rule).experts},
          {"logits", logits}};
}

// The chosen of one token: where their logits lie, their affinities and what weights are divided by.
struct ChosenExperts {
  std::vector<std::size_t> places;
  std::vector<double> scores;
  double divisor = 1;

  ChosenExperts(const Tensor& logits, std::span<const std::int64_t> experts, std::size_t token, bool normalise) {
    for (const std::int64_t expert : experts) {
      places.push_back(token * static_cast<std::size_t>(logits.dim(1)) + static_cast<std::size_t>(expert));
      scores.push_back(1 / (1 + std::exp(-logits.values<double>()[places.back()])));
    }
    if (!normalise) return;
    divisor = ops::kAffinityOffset;
    for (const double score : scores) divisor += score;
  }
};

ExpectedOutputs expect_router_gradient(const NamedTensors& inputs, const ContractSettings& settings) {
  const Tensor logits = wide(input(inputs, "logits"));
  const Tensor dweights = wide(input(inputs, "dweights"));
  const Tensor& chosen = input(inputs, "topk_idx");
  require_indices("router_backward", "topk_idx", chosen, 0, logits.dim(1));
  for (const double logit : logits.values<double>())
    if (!std::isfinite(logit)) core::fail_input("router_backward: logits has {}, expected finite numbers", logit);
  ops::RouterRule rule;
  rule.top_k = chosen.dim(1);
  rule.normalise = settings.flag("norm_topk_prob");
  rule.scale = settings.number("scale");
  const Tensor exact = ops::route_backward(dweights, logits, {chosen, dweights, chosen}, rule);
  std::vector<double> dlogits(exact.values<double>().begin(), exact.values<double>().end());
  std::vector<double> errors(dlogits.size(), 0);
  const auto top_k = static_cast<std::size_t>(rule.top_k);
  for (std::size_t token = 0; token < static_cast<std::size_t>(chosen.dim(0)); ++token) {
    const auto slopes = dweights.values<double>().subspan(token * top_k, top_k);
    const ChosenExperts of(logits, chosen.values<std::int64_t>().subspan(token * top_k, top_k), token, rule.normalise);
    double mean = 0;
    for (std::size_t i = 0; rule.normalise && i < top_k; ++i) mean += std::abs(slopes[i]) * of.scores[i] / of.divisor;
    for (std::size_t i = 0; i < top_k; ++i) {
      const double factor = rule.scale / of.divisor * of.scores[i];
      if (settings.fault("mean") == "none") dlogits[of.places[i]] = slopes[i] * factor * (1 - of.scores[i]);
      errors[of.places[i]] = (std::abs(slopes[i]) + mean) * factor * 0x1p-19 + kLeastSum;
    }
  }
  return {{"dlogits", f32_within(dlogits, errors, logits.shape())}};
}

std::vector<Alternative> router_gradient_alternatives(const ContractSettings& settings) {
  if (!settings.flag("norm_topk_prob")) return {{"weights normalised", {{"norm_topk_prob", "true"}}}};
  return {{"the sum of the chosen affinities taken for a constant", {{"mean", "none"}}},
          {"weights not normalised", {{"norm_topk_prob", "false"}}}};
}

Contract router_gradient_contract() {
  Contract contract{"router_backward", "Gradient of the router's weights (sigmoid, top-k, normalised) by its logits"};
  contract.axes = {"tokens", "experts"};
  contract.inputs = {{"dweights", "f32", "[tokens, top_k]", "gradient of the weights"},
                     {"topk_idx", "i64", "[tokens, top_k]", "the chosen experts, ascending"},
                     {"logits", "f32", "[tokens, experts]", "of the router"}};
  contract.outputs = {
      {{"dlogits", "f32", "[tokens, experts]", "0 where an expert was not chosen"},
       ToleranceClass::kBand,
       0,
       "with s = sigmoid and w = s / (sum of the chosen s): exp() within 2 ulp and a sum of top_k terms make s, w and "
       "sum |dw| w off by 2^-20, the factors behind by 2^-22 each: (|dw| + sum |dw| w) / (sum of s) scale s 2^-19"}};
  contract.settings = {whole_setting("top_k", "8", 1, 32, "experts a token"),
                       flag_setting("norm_topk_prob", true, "weights are divided by their sum"),
                       number_setting("scale", "2.5", 0x1p-20, 1e3, "times this")};
  contract.shapes = {{1, 8}, {7, 64}, {33, 256}};
  contract.families = {"normal", "constant", "small_affinities"};
  contract.draw = draw_router_gradient;
  contract.expect = expect_router_gradient;
  contract.alternatives = router_gradient_alternatives;
  return contract;
}

// ---- the way back from experts

// top_k ascending experts a token; under "unused_slots" one token in three has a single one.
Tensor draw_choice(const DrawRequest& request) {
  const std::int64_t experts = request.size(2);
  const std::int64_t top_k = request.size(3);
  if (top_k > experts) core::fail_input("unpermute_backward: top_k = {}, expected at most {} experts", top_k, experts);
  const core::RandomStream stream(request.seed, "choice");
  std::vector<std::int64_t> choice;
  for (std::int64_t token = 0; token < request.size(0); ++token) {
    const auto first = static_cast<std::int64_t>(stream.word(static_cast<std::uint64_t>(token)) %
                                                 static_cast<std::uint64_t>(experts - top_k + 1));
    for (std::int64_t i = 0; i < top_k; ++i)
      choice.push_back(request.family == "unused_slots" && token % 3 == 1 && i > 0 ? -1 : first + i);
  }
  return Tensor::from<std::int64_t>({request.size(0), top_k}, choice);
}

NamedTensors draw_unpermute_gradient(const DrawRequest& request) {
  const std::int64_t tokens = request.size(0);
  const std::int64_t d = request.size(1);
  const std::int64_t top_k = request.size(3);
  const ops::ExpertPermutation permutation = ops::expert_permutation(draw_choice(request), request.size(2));
  const std::string& family = request.family == "unused_slots" ? "normal" : request.family;
  return {{"dy", draw_activations("normal", DType::kBF16, {tokens, d}, request.seed, "dy")},
          {"rows", draw_activations(family, DType::kBF16, {tokens * top_k, d}, request.seed, "rows")},
          {"offsets", Tensor::from<std::int64_t>({request.size(2) + 1}, permutation.offsets)},
          {"row_of_slot", Tensor::from<std::int64_t>({tokens, top_k}, permutation.row_of_slot)},
          {"weights", draw_activations("normal", DType::kF32, {tokens, top_k}, request.seed, "weights")}};
}

ExpectedOutputs expect_unpermute_gradient(const NamedTensors& inputs, const ContractSettings& /*settings*/) {
  const Tensor& row_of_slot = input(inputs, "row_of_slot");
  const std::vector<float> dy = floats_of(input(inputs, "dy"));
  const std::vector<float> rows = floats_of(input(inputs, "rows"));
  const auto weights = input(inputs, "weights").values<float>();
  const auto places = row_of_slot.values<std::int64_t>();
  const auto d = static_cast<std::size_t>(input(inputs, "dy").dim(1));
  require_indices("unpermute_backward", "row_of_slot", row_of_slot, -1, input(inputs, "rows").dim(0));
  std::vector<float> drows(rows.size(), 0);
  std::vector<double> dweights(places.size(), 0);
  std::vector<double> errors(places.size(), 0);
  for (std::size_t slot = 0; slot < places.size(); ++slot) {
    if (places[slot] < 0) continue;
    const std::size_t from = slot / static_cast<std::size_t>(row_of_slot.dim(1)) * d;
    const std::size_t to = static_cast<std::size_t>(places[slot]) * d;
    for (std::size_t i = 0; i < d; ++i) {
      drows[to + i] = weights[slot] * dy[from + i];
      const double term = static_cast<double>(dy[from + i]) * static_cast<double>(rows[to + i]);
      dweights[slot] += term;
      errors[slot] += static_cast<double>(d + 1) * kUnitF32 * std::abs(term) + kLeastSum;
    }
  }
  const Shape& shape = input(inputs, "rows").shape();
  return {{"drows", {tensor::cast(Tensor::from<float>(shape, drows), DType::kBF16)}},
          {"dweights", f32_within(dweights, errors, row_of_slot.shape())}};
}

Contract unpermute_gradient_contract() {
  Contract contract{"unpermute_backward", "Gradients of unpermute: drows = weight dy, dweights = dy . row"};
  contract.axes = {"tokens", "d", "experts", "top_k"};
  contract.inputs = {{"dy", "bf16", "[tokens, d]", "gradient of the sums"},
                     {"rows", "bf16", "[tokens * top_k, d]", "of the experts"},
                     {"offsets", "i64", "[experts + 1]", "expert e has the rows offsets[e] ... offsets[e + 1] - 1"},
                     {"row_of_slot", "i64", "[tokens, top_k]", "-1: unused"},
                     {"weights", "f32", "[tokens, top_k]", "of the experts"}};
  contract.outputs = {{{"drows", "bf16", "[tokens * top_k, d]", "gradient of the rows, +0 behind the last"},
                       ToleranceClass::kBitwise,
                       0,
                       "a product in FP32, then BF16: both roundings are given"},
                      {{"dweights", "f32", "[tokens, top_k]", "gradient of the weights, 0 for unused slots"},
                       ToleranceClass::kBand,
                       0,
                       "a sum of d products in FP32 in any order: (d + 1) 2^-24 of the sum of magnitudes"}};
  contract.shapes = {{1, 1, 1, 1}, {17, 40, 8, 2}, {33, 130, 32, 8}};
  contract.families = {"normal", "cancelling", "zero_rows", "subnormal", "unused_slots"};
  contract.draw = draw_unpermute_gradient;
  contract.expect = expect_unpermute_gradient;
  return contract;
}

// ---- the embedding

NamedTensors draw_embedding_gradient(const DrawRequest& request) {
  const std::int64_t tokens = request.size(0);
  const core::RandomStream stream(request.seed, "ids");
  std::vector<std::int64_t> ids;
  for (std::int64_t token = 0; token < tokens; ++token) {  // one in four is the same
    const auto word = stream.word(static_cast<std::uint64_t>(token));
    ids.push_back(token % 4 == 1 ? 0 : static_cast<std::int64_t>(word % static_cast<std::uint64_t>(request.size(2))));
  }
  return {{"dy", draw_activations(request.family, DType::kBF16, {tokens, request.size(1)}, request.seed, "dy")},
          {"ids", Tensor::from<std::int64_t>({tokens}, ids)},
          {"vocabulary", Tensor::from<std::int64_t>({1}, std::vector<std::int64_t>{request.size(2)})}};
}

ExpectedOutputs expect_embedding_gradient(const NamedTensors& inputs, const ContractSettings& /*settings*/) {
  const Tensor dy = wide(input(inputs, "dy"));
  const Tensor& ids = input(inputs, "ids");
  const std::int64_t vocabulary = input(inputs, "vocabulary").values<std::int64_t>()[0];
  if (vocabulary < 1) core::fail_input("embedding_backward: vocabulary is {}, expected at least 1", vocabulary);
  require_indices("embedding_backward", "ids", ids, 0, vocabulary);
  const Shape shape{vocabulary, dy.dim(1)};
  Tensor dtable = Tensor::zeros(DType::kF64, shape);
  Tensor magnitudes = Tensor::zeros(DType::kF64, shape);
  Tensor sizes = dy.clone();
  for (double& size : sizes.mutable_values<double>()) size = std::abs(size);
  ops::embedding_backward(dy, ids, dtable);
  ops::embedding_backward(sizes, ids, magnitudes);
  std::vector<double> errors;
  for (const double magnitude : magnitudes.values<double>())
    errors.push_back(static_cast<double>(ids.size()) * kUnitF32 * magnitude);
  return {{"dtable", f32_within({dtable.values<double>().begin(), dtable.values<double>().end()}, errors, shape)}};
}

Contract embedding_gradient_contract() {
  Contract contract{"embedding_backward", "Gradient of the embedding's table: rows of dy added up by token id"};
  contract.axes = {"tokens", "d", "vocabulary"};
  contract.inputs = {{"dy", "bf16", "[tokens, d]", "gradient of the rows"},
                     {"ids", "i64", "[tokens]", "within the vocabulary"},
                     {"vocabulary", "i64", "[1]", "rows of the table"}};
  contract.outputs = {{{"dtable", "f32", "[vocabulary, d]", "0 where no token has the id"},
                       ToleranceClass::kBand,
                       0,
                       "sums in FP32 in any order: tokens 2^-24 of the sum of magnitudes"}};
  contract.shapes = {{1, 1, 1}, {40, 7, 9}, {300, 130, 50}};
  contract.families = {"normal", "outlier", "cancelling", "sparse"};
  contract.draw = draw_embedding_gradient;
  contract.expect = expect_embedding_gradient;
  return contract;
}

}  // namespace

std::vector<Contract> routing_gradient_contracts() {
  return {router_gradient_contract(), unpermute_gradient_contract(), embedding_gradient_contract()};
}

}  // namespace lastbit::check

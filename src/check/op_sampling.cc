// From logits to tokens, and the verification of drafts.
#include <algorithm>
#include <cstdint>
#include <span>

#include "check/op_arguments.h"
#include "check/op_families.h"
#include "infer/sampling.h"
#include "infer/speculative.h"

namespace lastbit::check {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

template <typename T>
NamedTensors sample_as(const OpArguments& in) {
  const infer::SamplingRule rule{in.number("temperature"), in.whole("top_k"), in.number("top_p")};
  const Tensor& logits = in.tensor("logits");
  const auto vocabulary = static_cast<std::size_t>(in.size("vocabulary"));
  const std::size_t rows = static_cast<std::size_t>(logits.size()) / vocabulary;
  tensor::Shape leading = logits.shape();
  leading.pop_back();
  Tensor probs = Tensor::empty(DType::kF64, logits.shape());
  Tensor greedy = Tensor::empty(DType::kI64, leading);
  Tensor token = Tensor::empty(DType::kI64, leading);
  const Tensor* u = in.find("u");
  for (std::size_t r = 0; r < rows; ++r) {
    const auto row = logits.values<T>().subspan(r * vocabulary, vocabulary);
    const std::vector<double> distribution = infer::sampling_probabilities(row, rule);
    std::ranges::copy(distribution, probs.mutable_values<double>().subspan(r * vocabulary).begin());
    greedy.mutable_values<std::int64_t>()[r] = infer::greedy(row);
    if (u != nullptr) token.mutable_values<std::int64_t>()[r] = infer::draw(distribution, u->values<double>()[r]);
  }
  NamedTensors out{{"probs", probs}, {"greedy", greedy}};
  if (u != nullptr) out.emplace("token", token);
  return out;
}

NamedTensors run_sampling(const OpArguments& in) {
  return in.dtype() == DType::kF64 ? sample_as<double>(in) : sample_as<float>(in);
}

NamedTensors run_verify_greedy(const OpArguments& in) {
  const auto drafts = in.tensor("draft").values<std::int64_t>();
  const Tensor& p = in.tensor("p");
  const infer::Verification result = in.dtype() == DType::kF64
                                         ? infer::verify_greedy<double>(p.values<double>(), drafts)
                                         : infer::verify_greedy<float>(p.values<float>(), drafts);
  return {{"accepted", scalar_result(result.accepted)}, {"next_token", scalar_result(result.next_token)}};
}

NamedTensors run_verify_sampled(const OpArguments& in) {
  const infer::Verification result = infer::verify_sampled(
      in.tensor("p").values<double>(), in.tensor("q").values<double>(), in.tensor("draft").values<std::int64_t>(),
      in.tensor("u_accept").values<double>(), in.tensor("u_resample").values<double>()[0]);
  return {{"accepted", scalar_result(result.accepted)},
          {"next_token", scalar_result(result.next_token)},
          {"residual", vector_result(result.residual)}};
}

}  // namespace

std::vector<OpEntry> sampling_ops() {
  const OpElements kDouble = OpElements::kDouble;
  const OpElements kIndex = OpElements::kIndex;
  return {
      {"sampling",
       "Temperature, top-k and top-p, and the token at a given uniform number",
       {{"logits", OpElements::kLogits, "[..., vocabulary]", "of the next token; -inf bars one"},
        {"u", kDouble, "[...]", "uniform in [0, 1)", false}},
       {number_setting("temperature", "1", 0, kLargeFactor, "0: all to the likeliest"),
        whole_setting("top_k", "0", 0, kManyTokens, "0: off"), number_setting("top_p", "1", kSmallFactor, 1, "1: off")},
       {{"probs", "[..., vocabulary]", "in f64"},
        {"greedy", "[...]", "the likeliest token"},
        {"token", "[...]", "with u"}},
       run_sampling},
      {"verify_greedy",
       "Drafted tokens that stand under greedy decoding",
       {{"draft", kIndex, "[drafts]", "tokens"},
        {"p", OpElements::kLogits, "[drafts+1, vocabulary]", "the target's logits or probabilities"}},
       {},
       {{"accepted", "[1]", "leading drafts that stand"}, {"next_token", "[1]", "behind them"}},
       run_verify_greedy},
      {"verify_sampled",
       "Drafted tokens that stand under sampling",
       {{"draft", kIndex, "[drafts]", "tokens"},
        {"p", kDouble, "[drafts+1, vocabulary]", "the target's probabilities"},
        {"q", kDouble, "[drafts, vocabulary]", "those that the drafts were drawn from"},
        {"u_accept", kDouble, "[drafts]", "uniform in [0, 1)"},
        {"u_resample", kDouble, "[1]", "likewise"}},
       {},
       {{"accepted", "[1]", "leading drafts that stand"},
        {"next_token", "[1]", "behind them"},
        {"residual", "[vocabulary]", "what it was drawn from"}},
       run_verify_sampled}};
}

}  // namespace lastbit::check

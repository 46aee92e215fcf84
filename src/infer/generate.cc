#include "infer/generate.h"

#include "core/error.h"
#include "core/philox.h"
#include "model/key_value_cache.h"

namespace lastbit::infer {
namespace {

using tensor::Tensor;

// The token that follows, from logits [1, S, vocabulary].
std::int64_t next_token(const Tensor& logits, const SamplingRule& rule, double u) {
  const auto all = logits.values<float>();
  const std::span<const float> last = all.last(static_cast<std::size_t>(logits.dim(-1)));
  if (rule.temperature == 0) return greedy(last);
  return draw(sampling_probabilities(last, rule), u);
}

}  // namespace

std::vector<std::int64_t> generate(const model::Transformer& model, std::span<const std::int64_t> prompt,
                                   const GenerateOptions& options) {
  model::KeyValueCache cache(model.config().num_hidden_layers);
  return generate([&](const Tensor& ids) { return model.decode(ids, cache); }, model.config().max_position_embeddings,
                  prompt, options);
}

std::vector<std::int64_t> generate(const Decode& decode, std::int64_t positions, std::span<const std::int64_t> prompt,
                                   const GenerateOptions& options) {
  if (prompt.empty()) core::fail_input("generate: an empty prompt, expected at least one token");
  if (std::ssize(prompt) >= positions)
    core::fail_input("generate: a prompt of {} tokens, expected fewer than the model's {} positions", prompt.size(),
                     positions);
  const core::RandomStream random(options.seed, "generate");
  Tensor ids = Tensor::from<std::int64_t>({1, std::ssize(prompt)}, prompt);
  std::vector<std::int64_t> tokens;
  while (std::ssize(tokens) < options.max_tokens && std::ssize(prompt) + std::ssize(tokens) < positions) {
    const Tensor logits = decode(ids);
    const std::int64_t token = next_token(logits, options.sampling, uniform(random, tokens.size()));
    if (token == options.end_token) break;
    tokens.push_back(token);
    if (options.on_token) options.on_token(token);
    ids = Tensor::from<std::int64_t>({1, 1}, std::span(&tokens.back(), 1));
  }
  return tokens;
}

}  // namespace lastbit::infer

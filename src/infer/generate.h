// Text from a model, one token after another.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "infer/sampling.h"
#include "model/transformer.h"

namespace lastbit::infer {

struct GenerateOptions {
  std::int64_t max_tokens = 128;
  SamplingRule sampling;
  std::uint64_t seed = 1;
  std::int64_t end_token = -1;  // ends the text and is not part of it; -1: none
  std::function<void(std::int64_t token)> on_token;
};

// The tokens after `prompt`, with a cache of keys and values: token i is drawn at the i-th number of the seed's stream
// "generate", so the same seed gives the same text on every machine. Ends before the model's max_position_embeddings.
// Errors (bad input): an empty prompt, one that fills the model's positions, ids outside the vocabulary.
[[nodiscard]] std::vector<std::int64_t> generate(const model::Transformer& model, std::span<const std::int64_t> prompt,
                                                 const GenerateOptions& options);

// The same with logits from elsewhere: decode(ids [1, S]) gives those behind the last of the tokens so far, the last
// `vocabulary` values of its result; `positions` of the model.
using Decode = std::function<tensor::Tensor(const tensor::Tensor& ids)>;
[[nodiscard]] std::vector<std::int64_t> generate(const Decode& decode, std::int64_t positions,
                                                 std::span<const std::int64_t> prompt, const GenerateOptions& options);

}  // namespace lastbit::infer

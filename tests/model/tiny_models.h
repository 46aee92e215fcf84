// Models of a few thousand weights, made in memory, whose every operator still has work to do.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "model/transformer.h"
#include "tensor/tensor.h"

namespace lastbit::model {

// config.json of a family: two layers of width 12, vocabulary 19; where there are experts, eight, in the second layer.
[[nodiscard]] nlohmann::json tiny_v3();     // MLA with q-LoRA, sigmoid router with bias and groups, a shared expert
[[nodiscard]] nlohmann::json tiny_v2();     // MLA without q-LoRA, softmax router limited to groups
[[nodiscard]] nlohmann::json tiny_v1();     // model_type deepseek: MHA, softmax router
[[nodiscard]] nlohmann::json tiny_llama();  // GQA, dense
// `base` with the members of `changes` in place of its own.
[[nodiscard]] nlohmann::json with(nlohmann::json base, const nlohmann::json& changes);

// Weights of deviation 0.4, gains around 1, biases around 0: large enough that nothing is linear and that routing has
// margins. MTP modules where the config has them. The same values under every policy.
[[nodiscard]] Transformer tiny_transformer(const nlohmann::json& config, const std::string& policy);

// [batch, tokens] i64, a function of the place alone.
[[nodiscard]] tensor::Tensor tiny_ids(std::int64_t batch, std::int64_t tokens);

}  // namespace lastbit::model

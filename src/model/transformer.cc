#include "model/transformer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/suggest.h"
#include "io/config_file.h"
#include "model/attention.h"
#include "model/config_file.h"
#include "model/feed_forward.h"
#include "model/weight_specs.h"
#include "numerics/elementary.h"
#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/moe.h"
#include "ops/rms_norm.h"

namespace lastbit::model {
namespace {

using tensor::Tensor;

// One block: h = x + attention(norm(x)), y = h + ffn(norm(h)).
Tensor block(const Tensor& x, std::int64_t layer, const ForwardContext& context) {
  const std::string prefix = layer_prefix(layer);
  const double eps = context.config.rms_norm_eps;
  const Tensor attended =
      attention(ops::rms_norm(x, context.weights.get(prefix + "input_layernorm.weight"), eps), layer, context);
  context.taps.record(fmt::format("attn_out.layer{}", layer), attended);
  const Tensor middle = ops::add(x, attended);
  const Tensor fed = feed_forward(
      ops::rms_norm(middle, context.weights.get(prefix + "post_attention_layernorm.weight"), eps), layer, context);
  context.taps.record(fmt::format("mlp_out.layer{}", layer), fed);
  return ops::add(middle, fed);
}

// Frameworks keep cos and sin once a pair (V2) or, for rotated halves, twice side by side (V3, Llama).
Tensor framework_table(const Tensor& table, const ModelConfig& config) {
  if (config.model_type == "deepseek_v2") return table;
  const std::int64_t rows = table.dim(0);
  const std::int64_t half = table.dim(1);
  Tensor doubled = Tensor::empty(tensor::DType::kF32, {rows, 2 * half});
  float* target = doubled.mutable_values<float>().data();
  const float* source = table.values<float>().data();
  for (std::int64_t i = 0; i < rows; ++i) {
    target = std::copy_n(source + i * half, half, target);
    target = std::copy_n(source + i * half, half, target);
  }
  return doubled;
}

// Mean over B (S - 1) targets of -log softmax(logits)[target], in double, tokens in order.
Tensor next_token_loss(const Tensor& logits, const Tensor& ids) {
  const std::int64_t tokens = ids.dim(1);
  const std::int64_t vocabulary = logits.dim(-1);
  const auto id = ids.values<std::int64_t>();
  const float* values = logits.values<float>().data();
  double total = 0;
  for (std::int64_t i = 0; i < ids.size(); ++i) {
    if (i % tokens == tokens - 1) continue;  // the last token of a sequence has no successor
    const float* row = values + i * vocabulary;
    const double largest = static_cast<double>(*std::max_element(row, row + vocabulary));
    double sum = 0;
    for (std::int64_t j = 0; j < vocabulary; ++j) sum += numerics::exp(static_cast<double>(row[j]) - largest);
    total += largest + numerics::log(sum) - static_cast<double>(row[id[static_cast<std::size_t>(i + 1)]]);
  }
  const float mean = static_cast<float>(total / static_cast<double>(ids.dim(0) * (tokens - 1)));
  return Tensor::from<float>({1}, std::span(&mean, 1));
}

void check_finite(const Tensor& logits) {
  const auto values = logits.values<float>();
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
    core::fail_input("a logit is not finite: with these weights the activations overflow FP32");
}

void check_runnable(const ModelConfig& config, const std::string& directory) {
  if (config.model_type != "deepseek_v3" && config.model_type != "deepseek_v2" && config.model_type != "deepseek")
    core::fail_unsupported(
        "{}: model_type '{}' can be inspected and simulated, but not run; deepseek_v3, deepseek_v2 "
        "and deepseek can",
        directory, config.model_type);
}

}  // namespace

Transformer::Transformer(ModelConfig config, Weights weights, ops::Numerics numerics)
    : config_(std::move(config)), weights_(std::move(weights)), numerics_(numerics) {}

Transformer Transformer::load(const std::string& directory, ops::Numerics numerics) {
  const std::filesystem::path folder(directory);
  if (!std::filesystem::is_directory(folder))
    core::fail_input("{}: no such directory, expected one with config.json and model.safetensors", directory);
  const std::string file = (folder / "config.json").string();
  if (!std::filesystem::exists(file))
    core::fail_input("{}: a directory without config.json, expected one in Hugging Face's form", directory);
  ModelConfig config = parse_model_config(io::load_config_file(file), file);
  check_runnable(config, directory);
  Weights weights = Weights::load(directory, config);
  return {std::move(config), std::move(weights), numerics};
}

std::vector<std::string> Transformer::tap_names() const {
  std::vector<std::string> names = {"rope.inv_freq", "rope.cos", "rope.sin", "hidden.embed"};
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    const auto add = [&](const char* name) { names.push_back(fmt::format("{}.layer{}", name, layer)); };
    if (config_.attention == AttentionKind::kMla) {
      add("cache.c_kv");
      add("cache.k_rope");
    }
    add("attn_out");
    if (config_.is_moe_layer(layer))
      for (const char* name : {"router.logits", "router.topk_idx", "router.topk_weight"}) add(name);
    add("mlp_out");
    add("hidden");
  }
  for (const char* name : {"hidden.final_norm", "logits", "loss"}) names.emplace_back(name);
  return names;
}

void Transformer::check_taps(const std::vector<std::string>& taps) const {
  const std::vector<std::string> names = tap_names();
  for (const std::string& tap : taps)
    if (std::find(names.begin(), names.end(), tap) == names.end())
      core::fail_input("tap '{}': no such tap in this model of {} layers{}", tap, config_.num_hidden_layers,
                       core::suggestion(tap, names));
}

void Transformer::check_ids(const Tensor& ids) const {
  if (ids.dtype() != tensor::DType::kI64 || ids.rank() != 2 || ids.size() == 0)
    core::fail_input("token ids: found {} {}, expected i64 [B, S] with at least one token", name(ids.dtype()),
                     tensor::to_string(ids.shape()));
  const auto values = ids.values<std::int64_t>();
  for (std::int64_t i = 0; i < ids.size(); ++i) {
    const std::int64_t id = values[static_cast<std::size_t>(i)];
    if (id < 0 || id >= config_.vocab_size)
      core::fail_input("token ids: [{}, {}] is {}, expected 0 to {} (vocab_size {})", i / ids.dim(1), i % ids.dim(1),
                       id, config_.vocab_size - 1, config_.vocab_size);
  }
}

tensor::NamedTensors Transformer::forward(const Tensor& given_ids, const std::vector<std::string>& tap_list) const {
  check_taps(tap_list);
  const Tensor ids = given_ids.contiguous();
  check_ids(ids);
  Taps taps(std::set<std::string>(tap_list.begin(), tap_list.end()));
  if (taps.wants("loss") && ids.dim(1) < 2)
    core::fail_input("tap 'loss': found sequences of 1 token, expected at least 2: there is no next token to predict");

  const ops::RopeTables rope = ops::rope_tables(rope_parameters(config_), ids.dim(1));
  taps.record("rope.inv_freq", rope.inv_freq);
  if (taps.wants("rope.cos")) taps.record("rope.cos", framework_table(rope.cos, config_));
  if (taps.wants("rope.sin")) taps.record("rope.sin", framework_table(rope.sin, config_));
  const ForwardContext context{config_, weights_, rope, numerics_, taps};

  const Tensor& table = weights_.get("model.embed_tokens.weight");
  Tensor hidden = ops::embedding(ids, table);
  taps.record("hidden.embed", hidden);
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    hidden = block(hidden, layer, context);
    taps.record(fmt::format("hidden.layer{}", layer), hidden);
  }
  const Tensor normed = ops::rms_norm(hidden, weights_.get("model.norm.weight"), config_.rms_norm_eps);
  taps.record("hidden.final_norm", normed);
  const Tensor& head = config_.tie_word_embeddings ? table : weights_.get("lm_head.weight");
  const Tensor logits = ops::linear(normed, head, numerics_);
  check_finite(logits);
  taps.record("logits", logits);
  if (taps.wants("loss")) taps.record("loss", next_token_loss(logits, ids));
  return taps.take();
}

}  // namespace lastbit::model

#include "kernels/device/device_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/suggest.h"
#include "kernels/device/block_layer.h"
#include "kernels/device/feed_forward_layer.h"
#include "kernels/device/head_layer.h"
#include "kernels/device/narrow.h"
#include "kernels/device/support.h"
#include "kernels/plain/layers.h"
#include "model/language_head.h"
#include "model/token_ids.h"

namespace lastbit::device {
namespace {

using tensor::DType;
using tensor::NamedTensors;
using tensor::Tensor;

const model::ModelConfig& supported(const model::ModelConfig& config) {
  require_supported(config);
  return config;
}

std::vector<std::string> tap_names(const model::ModelConfig& config) {
  std::vector<std::string> names{"logits", "logits.last", "loss"};
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    names.push_back(fmt::format("hidden.layer{}", layer));
    if (!config.is_moe_layer(layer)) continue;
    for (const char* name : {"logits", "topk_idx", "topk_weight"})
      names.push_back(fmt::format("router.{}.layer{}", name, layer));
  }
  return names;
}

void require_taps(const std::vector<std::string>& taps, const model::ModelConfig& config) {
  const std::vector<std::string> names = tap_names(config);
  for (const std::string& tap : taps)
    if (std::ranges::find(names, tap) == names.end())
      core::fail_input("tap '{}': not one of the device path's{}; --device cpu has all", tap,
                       core::suggestion(tap, names));
}

void require_finite(std::span<const float> logits) {
  if (!std::ranges::all_of(logits, [](float x) { return std::isfinite(x); }))
    core::fail_input("a logit is not finite: with these weights the activations overflow");
}

}  // namespace

DeviceModel::DeviceModel(model::ModelConfig config, const ModelUse& use, Memory memory, std::size_t bytes)
    : config_(std::move(config)),
      use_(use),
      runtime_(memory, bytes),
      parameters_(supported(config_), {use.mtp, use.element == Element::kBF16, use.gradients, use.moments, use.fp8},
                  runtime_) {
  const std::int64_t layers = std::ssize(mixture_layers(config_, use.mtp));
  if (use.gradients) loads_ = runtime_.allocate("loads", Element::kI64, layers * config_.n_routed_experts);
}

std::vector<model::MemoryPart> DeviceModel::memory_parts() const {
  std::vector<model::MemoryPart> parts = parameters_.memory_parts();
  parts.push_back({"activations, logits and room for a layer's work",
                   static_cast<double>(runtime_.peak_bytes()) - model::total_bytes(parts)});
  return parts;
}

Pass DeviceModel::make_pass(const model::TokenLayout& layout, const Tensor& ids) {
  Pass pass{config_, runtime_, parameters_, use_.element, place_tokens(config_, layout, ids, runtime_)};
  pass.non_finite = runtime_.allocate("logits that are not finite", Element::kI64, 1);
  runtime_.run([&] { kernels::fill_zero(static_cast<float*>(pass.non_finite.data), 2); });
  return pass;
}

// From token ids to the residual stream behind the last block.
void DeviceModel::run_blocks(const Pass& pass, const Array& hidden) {
  const Runtime::Scope scope(runtime_);
  const std::int64_t rows = pass.place.rows();
  const std::int64_t d = config_.hidden_size;
  // The stream goes to and fro between two arrays, so that it ends in `hidden`.
  const Array other = pass.room("hidden", rows, d);
  const bool odd = config_.num_hidden_layers % 2 == 1;
  Array x = odd ? other : hidden;
  Array y = odd ? hidden : other;
  runtime_.run([&] {
    kernels::embedding_values(parameters_.of("model.embed_tokens.weight").value.f32(), pass.place.ids.i64(),
                              narrow(rows), narrow(d), x.values());
  });
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    BlockLayer(layer, pass).forward(x, y);
    std::swap(x, y);
  }
}

void DeviceModel::check_routers(const Pass& pass) {
  std::int64_t count = 0;
  runtime_.download(pass.non_finite, std::as_writable_bytes(std::span(&count, 1)));
  if (count > 0)
    core::fail_input("{} router logits are not finite: with these weights the activations overflow", count);
}

void DeviceModel::tap_loss(const Pass& pass, HeadLayer& head, PassTaps& taps) {
  const Runtime::Scope scope(runtime_);
  const Array nll = runtime_.allocate("loss", Element::kF64, 1);
  head.loss(1, nll);
  double sum = 0;
  runtime_.download(nll, std::as_writable_bytes(std::span(&sum, 1)));
  const auto loss = static_cast<float>(sum / static_cast<double>(pass.place.target_count));
  require_finite(std::span(&loss, 1));
  taps.record("loss", Tensor::from<float>({1}, std::span(&loss, 1)));
}

void DeviceModel::tap_logits(const HeadLayer& head, const Tensor& ids, PassTaps& taps) {
  const std::int64_t vocabulary = config_.vocab_size;
  const std::int64_t tokens = ids.dim(1);
  const auto record = [&](const char* name, std::int64_t rows_a_sequence) {
    if (!taps.wants(name)) return;
    const Runtime::Scope scope(runtime_);
    Tensor logits = Tensor::empty(DType::kF32, {ids.dim(0), rows_a_sequence, vocabulary});
    const Array scores = runtime_.allocate(name, Element::kF32, logits.size());
    for (std::int64_t row = 0; row < ids.dim(0); ++row)
      head.logits((row + 1) * tokens - rows_a_sequence, rows_a_sequence,
                  scores.part(row * rows_a_sequence * vocabulary, rows_a_sequence * vocabulary));
    runtime_.download(scores, logits.mutable_bytes());
    require_finite(logits.values<float>());
    taps.record(name, rows_a_sequence == tokens ? logits : logits.reshape({ids.dim(0), vocabulary}));
  };
  record("logits", tokens);
  record("logits.last", 1);
}

NamedTensors DeviceModel::forward(const Tensor& given_ids, const std::vector<std::string>& names) {
  require_taps(names, config_);
  const Tensor ids = given_ids.contiguous();
  model::check_token_ids(ids, config_.vocab_size);
  PassTaps taps(names);
  if (taps.wants("loss") && ids.dim(1) < 2)
    core::fail_input("tap 'loss': found sequences of 1 token, expected at least 2: there is no next token to predict");
  const Runtime::Scope scope(runtime_);
  Pass pass = make_pass(model::plain_layout(ids.dim(0), ids.dim(1)), ids);
  pass.taps = &taps;
  if (taps.wants("loss")) place_targets(pass.place, model::targets_ahead(ids, 1, ids.dim(1)), runtime_);
  const Array hidden = pass.room("hidden", pass.place.rows(), config_.hidden_size);
  run_blocks(pass, hidden);
  check_routers(pass);
  HeadLayer head(pass, "model.norm.weight");
  head.normalise(hidden);
  if (taps.wants("loss")) tap_loss(pass, head, taps);
  tap_logits(head, ids, taps);
  return taps.take();
}

void DeviceModel::make_cache(std::int64_t capacity) {
  core::check(!cache_, "one cache a model");
  const std::int64_t tokens = config_.num_hidden_layers * capacity;
  cache_ = LatentCache{capacity, 0, runtime_.allocate("cached latents", use_.element, tokens * config_.kv_lora_rank),
                       runtime_.allocate("cached keys", use_.element, tokens * config_.qk_rope_head_dim)};
}

std::vector<float> DeviceModel::decode(const Tensor& ids) {
  model::check_token_ids(ids, config_.vocab_size);
  core::check(cache_ && cache_->tokens + ids.dim(1) <= cache_->capacity && ids.dim(0) == 1,
              "a cache with room for the sequence");
  const Runtime::Scope scope(runtime_);
  Pass pass = make_pass(model::plain_layout(1, ids.dim(1), cache_->tokens), ids);
  pass.cache = &*cache_;
  const Array hidden = pass.room("hidden", ids.dim(1), config_.hidden_size);
  run_blocks(pass, hidden);
  cache_->tokens += ids.dim(1);
  HeadLayer head(pass, "model.norm.weight");
  head.normalise(hidden);
  PassTaps taps({"logits.last"});
  tap_logits(head, ids, taps);
  check_routers(pass);
  const Tensor logits = taps.take().at("logits.last");
  return {logits.values<float>().begin(), logits.values<float>().end()};
}

}  // namespace lastbit::device

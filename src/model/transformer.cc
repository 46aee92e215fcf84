#include "model/transformer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "io/config_file.h"
#include "model/attention.h"
#include "model/block.h"
#include "model/config_file.h"
#include "model/language_head.h"
#include "model/tap_names.h"
#include "model/token_ids.h"
#include "model/weight_specs.h"
#include "ops/embedding.h"

namespace lastbit::model {
namespace {

using tensor::DType;
using tensor::Tensor;

// Frameworks keep cos and sin once a pair (V2) or, for rotated halves, twice side by side (V3, Llama).
Tensor framework_table(const Tensor& table, const ModelConfig& config) {
  if (config.model_type == "deepseek_v2") return table;
  const std::int64_t rows = table.dim(0);
  const std::size_t half = table.nbytes() / static_cast<std::size_t>(rows);
  Tensor doubled = Tensor::empty(table.dtype(), {rows, 2 * table.dim(1)});
  auto target = doubled.mutable_bytes().begin();
  for (std::size_t i = 0; i < static_cast<std::size_t>(2 * rows); ++i)
    target = std::copy_n(table.bytes().begin() + static_cast<std::ptrdiff_t>(i / 2 * half), half, target);
  return doubled;
}

Tensor scalar(DType dtype, double value) {
  const auto narrow = static_cast<float>(value);
  return dtype == DType::kF64 ? Tensor::from<double>({1}, std::span(&value, 1))
                              : Tensor::from<float>({1}, std::span(&narrow, 1));
}

void tap_rope(const ops::RopeTables& rope, const ModelConfig& config, Taps& taps) {
  taps.record("rope.inv_freq", rope.inv_freq);
  if (taps.wants("rope.cos")) taps.record("rope.cos", framework_table(rope.cos, config));
  if (taps.wants("rope.sin")) taps.record("rope.sin", framework_table(rope.sin, config));
}

double mean(const HeadLoss& loss) { return loss.nll / static_cast<double>(loss.targets); }

}  // namespace

Transformer::Transformer(ModelConfig config, Weights weights, ops::Numerics numerics)
    : config_(std::move(config)), weights_(std::move(weights)), numerics_(std::move(numerics)) {}

Transformer Transformer::load(const std::string& directory, ops::Numerics numerics, bool stream) {
  const std::filesystem::path folder(directory);
  if (!std::filesystem::is_directory(folder))
    core::fail_input("{}: no such directory, expected one with config.json and model.safetensors", directory);
  const std::string file = (folder / "config.json").string();
  if (!std::filesystem::exists(file))
    core::fail_input("{}: a directory without config.json, expected one in Hugging Face's form", directory);
  ModelConfig config = parse_model_config(io::load_config_file(file), file);
  Weights weights = Weights::load(directory, config, {ops::value_dtype(numerics), false, stream});
  return {std::move(config), std::move(weights), std::move(numerics)};
}

bool Transformer::is_mtp_weight(const std::string& name) const {
  for (std::int64_t depth = 0; depth < config_.num_nextn_predict_layers; ++depth)
    if (name.starts_with(layer_prefix(config_.num_hidden_layers + depth))) return true;
  return false;
}

std::vector<std::string> Transformer::tap_names() const { return forward_tap_names(config_, weights_.has_mtp()); }
std::vector<std::string> Transformer::gradient_tap_names() const { return loss_tap_names(config_, weights_.has_mtp()); }

TokenLayout Transformer::layout_of(const Tensor& ids, const std::vector<std::int64_t>& documents) const {
  return documents.empty() ? plain_layout(ids.dim(0), ids.dim(1)) : packed_layout(ids.dim(0), ids.dim(1), documents);
}

ops::RopeTables Transformer::rope_for(const TokenLayout& layout) const {
  if (config_.rotary_dim() == 0) {
    const DType dtype = ops::value_dtype(numerics_);
    return {Tensor::zeros(dtype, {0}), Tensor::zeros(dtype, {layout.end_position(), 0}),
            Tensor::zeros(dtype, {layout.end_position(), 0})};
  }
  return ops::rope_tables(rope_parameters(config_), layout.end_position(), ops::value_dtype(numerics_));
}

Tensor Transformer::embed(const Tensor& ids, const PassContext& context) const {
  Tensor hidden = ops::embedding(ids, weights_.get("model.embed_tokens.weight"));
  ops::settle(hidden, numerics_);
  context.taps.record("hidden.embed", hidden);
  return hidden;
}

tensor::NamedTensors Transformer::forward(const Tensor& given_ids, const ForwardOptions& options) const {
  Taps taps(require_taps(options.taps, tap_names(), config_));
  const Tensor ids = given_ids.contiguous();
  check_token_ids(ids, config_.vocab_size);
  const bool loss_wanted = taps.wants("loss") || taps.wants_prefix("mtp.");
  if (loss_wanted && ids.dim(1) < 2)
    core::fail_input("tap 'loss': found sequences of 1 token, expected at least 2: there is no next token to predict");

  const TokenLayout layout = layout_of(ids, options.documents);
  const ops::RopeTables rope = rope_for(layout);
  tap_rope(rope, config_, taps);
  PassContext context{config_, weights_, numerics_, rope, layout, taps};
  context.shadow = options.shadow;
  context.scales = options.scales;
  context.mla_form = options.mla_form;

  Tensor hidden = embed(ids, context);
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    const Weights::LayerHold hold = weights_.hold_layer(layer);
    hidden = BlockPass(layer, context).forward(hidden, ids);
  }
  LanguageHead head(context, "model.norm", output_weight(config_));
  const Tensor normed = head.normalise(hidden);
  taps.record("hidden.final_norm", normed);
  if (taps.wants("logits")) taps.record("logits", head.logits());
  if (taps.wants("logits.last")) taps.record("logits.last", head.last_logits());
  if (loss_wanted) {
    const HeadLoss main = head.loss(targets_ahead(ids, 1, ids.dim(1)), std::nullopt);
    taps.record("loss", scalar(normed.dtype(), mean(main)));
    tap_mtp(ids, hidden, normed, main, options.mtp, context);
  }
  if (taps.wants_prefix("medusa.")) tap_medusa(ids, normed, context);
  if (taps.wants("decode.logits")) tap_decoding(ids, taps);
  return taps.take();
}

void Transformer::tap_mtp(const Tensor& ids, const Tensor& hidden, const Tensor& normed, const HeadLoss& main,
                          MtpOptions options, const PassContext& context) const {
  Taps& taps = context.taps;
  for (const MtpVariant variant : {MtpVariant::kPaper, MtpVariant::kHf}) {
    const std::string prefix = fmt::format("mtp.{}.", to_string(variant));
    if (!taps.wants_prefix(prefix)) continue;
    std::vector<std::unique_ptr<Weights::LayerHold>> holds;
    for (std::int64_t depth = 0; depth < config_.num_nextn_predict_layers; ++depth)
      holds.push_back(std::make_unique<Weights::LayerHold>(weights_, config_.num_hidden_layers + depth));
    options.variant = variant;
    MtpPass mtp(context, options, ids);
    mtp.forward(hidden, normed, false);
    for (std::int64_t depth = 1; depth <= config_.num_nextn_predict_layers; ++depth) {
      const HeadLoss& loss = mtp.losses()[static_cast<std::size_t>(depth - 1)];
      taps.record(fmt::format("{}nll_sum.depth{}", prefix, depth), scalar(DType::kF64, loss.nll));
      const std::string logits = fmt::format("{}logits.depth{}", prefix, depth);
      if (taps.wants(logits)) taps.record(logits, mtp.logits(depth));
    }
    const auto losses = [&](double weight, bool over_all_tokens) {
      return mtp_loss(mtp.losses(), main, {variant, weight, false, over_all_tokens});
    };
    taps.record(prefix + "loss_mean", scalar(DType::kF64, losses(1, false)));
    taps.record(prefix + "loss_over_T", scalar(DType::kF64, losses(1, true)));
    taps.record(prefix + "total_loss",
                scalar(DType::kF64, mean(main) + losses(options.weight, options.over_all_tokens)));
  }
}

void Transformer::tap_medusa(const Tensor& ids, const Tensor& normed, const PassContext& context) const {
  MedusaPass medusa(context, {}, ids);
  medusa.forward(normed, false);
  context.taps.record("medusa.loss", scalar(DType::kF64, medusa_loss(medusa.losses(), {1})));
  for (std::int64_t head = 1; head <= config_.medusa_heads; ++head) {
    const std::string logits = fmt::format("medusa.logits.head{}", head);
    if (context.taps.wants(logits)) context.taps.record(logits, medusa.logits(head));
  }
}

Tensor Transformer::decode(const Tensor& given_ids, KeyValueCache& cache, MlaForm mla_form) const {
  const Tensor ids = given_ids.contiguous();
  check_token_ids(ids, config_.vocab_size);
  const TokenLayout layout = plain_layout(ids.dim(0), ids.dim(1), cache.tokens());
  const ops::RopeTables rope = rope_for(layout);
  Taps no_taps;
  PassContext context{config_, weights_, numerics_, rope, layout, no_taps};
  context.cache = &cache;
  context.mla_form = mla_form;
  Tensor hidden = embed(ids, context);
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    const Weights::LayerHold hold = weights_.hold_layer(layer);
    hidden = BlockPass(layer, context).forward(hidden, ids);
  }
  LanguageHead head(context, "model.norm", output_weight(config_));
  static_cast<void>(head.normalise(hidden));
  return head.logits();
}

void Transformer::tap_decoding(const Tensor& ids, Taps& taps) const {
  const std::int64_t tokens = ids.dim(1);
  KeyValueCache cache(config_.num_hidden_layers);
  Tensor all = Tensor::empty(ops::value_dtype(numerics_), {ids.dim(0), tokens, config_.vocab_size});
  std::int64_t end = 0;
  for (std::int64_t begin = 0; begin < tokens; begin = end) {
    end = begin == 0 ? std::min(std::max<std::int64_t>(2, tokens / 3), tokens) : begin + 1;
    const Tensor logits = decode(ids.slice(1, begin, end), cache);
    const std::size_t row_bytes = logits.nbytes() / static_cast<std::size_t>(ids.dim(0));
    const std::size_t token_bytes = row_bytes / static_cast<std::size_t>(end - begin);
    for (std::size_t row = 0; row < static_cast<std::size_t>(ids.dim(0)); ++row)
      std::copy_n(logits.bytes().begin() + static_cast<std::ptrdiff_t>(row * row_bytes), row_bytes,
                  all.mutable_bytes().begin() +
                      static_cast<std::ptrdiff_t>(
                          (row * static_cast<std::size_t>(tokens) + static_cast<std::size_t>(begin)) * token_bytes));
  }
  taps.record("decode.logits", all);
}

Gradients Transformer::zero_gradients() const {
  std::vector<WeightSpec> specs = main_weights(config_);
  if (weights_.has_mtp()) std::ranges::copy(mtp_weights(config_), std::back_inserter(specs));
  return {specs, ops::value_dtype(numerics_)};
}

}  // namespace lastbit::model

#include "model/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "model/language_head.h"
#include "model/weight_specs.h"
#include "tensor/dtype.h"

namespace lastbit::model {
namespace {

// Bytes of what a LinearInput keeps of an element: the value itself, or codes with their scales.
double kept_bytes(const ops::LinearNumerics& linear, double value_bytes) {
  if (!linear.tensor_core) return value_bytes;
  const bool codes =
      linear.e5m6_cache || linear.wgrad_input == ops::WgradInput::kRequantised || !linear.wgrad.right.scaled();
  if (!codes) return value_bytes + 1;
  if (linear.e5m6_cache || !linear.fprop.left.scaled()) return 2;
  return 1;
}

class Planner {
 public:
  Planner(const ModelConfig& config, const ops::Numerics& numerics, const PlannedPass& pass)
      : c_(config),
        n_(numerics),
        pass_(pass),
        element_(static_cast<double>(tensor::size_of(ops::value_dtype(numerics)))),
        tokens_(static_cast<double>(pass.batch * pass.tokens)) {}

  std::vector<MemoryPart> plan() {
    weights();
    if (pass_.backward) {
      add("gradients", weight_elements(false) * element_);
      kept();
      if (const double bytes = weight_codes(); bytes > 0) add("codes of weights", bytes);
    } else {
      add("residual stream and one layer's activations", tokens_ * (4 * d() + widest_layer()) * element_);
    }
    const double chunk = std::min(tokens_, 256.0);  // language_head.cc
    const double rows = pass_.backward ? chunk : tokens_;
    add(pass_.backward ? "logits of one chunk of tokens, and the gradient" : "logits",
        rows * static_cast<double>(c_.vocab_size) * element_ + 2 * tokens_ * d() * element_);
    if (pass_.backward) add("largest working set of a layer's backward pass", 3 * tokens_ * widest_layer() * element_);
    return std::move(parts_);
  }

 private:
  void add(const std::string& name, double bytes) { parts_.push_back({name, bytes}); }
  [[nodiscard]] double d() const { return static_cast<double>(c_.hidden_size); }

  // All weights that are loaded.
  [[nodiscard]] std::vector<WeightSpec> specs() const {
    std::vector<WeightSpec> all = main_weights(c_);
    if (pass_.mtp)
      for (WeightSpec& spec : mtp_weights(c_))
        if (spec.copy_of.empty()) all.push_back(spec);
    return all;
  }

  // Elements of all weights that are loaded, or of the most that streaming holds at a time.
  [[nodiscard]] double weight_elements(bool stream) const {
    std::map<std::int64_t, double> by_layer;
    for (const WeightSpec& spec : specs())
      by_layer[spec.layer] += static_cast<double>(tensor::element_count(spec.shape, spec.name));
    double all = 0;
    double largest = 0;
    for (const auto& [layer, elements] : by_layer) {
      all += elements;
      if (layer >= 0) largest = std::max(largest, elements);
    }
    return stream ? by_layer[-1] + largest : all;
  }

  // What a projection's weight is multiplied under; null: not a projection's.
  [[nodiscard]] const ops::LinearNumerics* numerics_of(const WeightSpec& spec) const {
    const std::string& role = spec.role;
    if (spec.kind != WeightKind::kMatrix || role == "mlp.gate.weight") return nullptr;
    if (role == "eh_proj.weight") return &n_.head;
    if (role.starts_with("medusa.") && role.ends_with(".proj.weight")) return &n_.projection;
    if (spec.layer < 0) return nullptr;
    if (role.ends_with(".o_proj.weight")) return &n_.attention_output;
    if (spec.expert >= 0) return role.ends_with(".down_proj.weight") ? &n_.expert_down : &n_.expert_in;
    return &n_.projection;
  }

  // What projections keep of their weights from forward to backward (projection.cc), and the head from chunk to chunk.
  [[nodiscard]] double weight_codes() const {
    double bytes = 0;
    for (const WeightSpec& spec : specs()) {
      const ops::LinearNumerics* linear = numerics_of(spec);
      if (linear != nullptr && linear->fprop.right.scaled() && ops::keeps_weights(*linear))
        bytes += static_cast<double>(tensor::element_count(spec.shape, spec.name));
    }
    if (ops::keeps_weights(n_.head))
      bytes += (n_.head.fprop.right.scaled() ? 1 : 2) * d() * static_cast<double>(c_.vocab_size);
    return bytes;
  }

  void weights() {
    add(pass_.stream ? "weights of one layer, embedding and head" : "weights",
        weight_elements(pass_.stream) * element_);
  }

  // Activations of a token in the widest part of a layer.
  [[nodiscard]] double widest_layer() const {
    const auto heads = static_cast<double>(c_.num_attention_heads);
    const double attention = heads * static_cast<double>(2 * c_.qk_head_dim() + 2 * c_.value_head_dim());
    double ffn = 3 * static_cast<double>(c_.intermediate_size);
    if (c_.n_routed_experts > 0) {
      const auto k = static_cast<double>(c_.num_experts_per_tok);
      ffn = std::max(ffn, k * (2 * d() + 3 * static_cast<double>(c_.moe_intermediate_size)));
    }
    return std::max(attention, ffn);
  }

  void kept() {
    const auto layers = static_cast<double>(c_.num_hidden_layers);
    add("kept: residual streams and norms", layers * tokens_ * streams());
    add("kept: attention", layers * tokens_ * attention());
    double dense = 0;
    double mixtures = 0;
    for (std::int64_t layer = 0; layer < c_.num_hidden_layers; ++layer)
      c_.is_moe_layer(layer) ? mixtures += 1 : dense += 1;
    if (dense > 0) add("kept: dense FFN", dense * tokens_ * ffn(static_cast<double>(c_.intermediate_size)));
    if (mixtures > 0) add("kept: mixtures of experts", mixtures * tokens_ * mixture());
    if (pass_.mtp) add("kept: MTP modules", static_cast<double>(c_.num_nextn_predict_layers) * tokens_ * mtp_module());
    if (c_.medusa_heads > 0) add("kept: Medusa heads", tokens_ * medusa());
  }

  // Bytes a token, as are all below: a layer's residual streams and norms.
  [[nodiscard]] double streams() const { return (pass_.recompute.norms ? 2 : 4) * d() * element_; }

  // Embedding, stream before, what the head reads and its gradient, eh_proj's input, and a layer.
  [[nodiscard]] double mtp_module() const {
    const double layer =
        c_.is_moe_layer(c_.num_hidden_layers) ? mixture() : ffn(static_cast<double>(c_.intermediate_size));
    return 4 * d() * element_ + 2 * d() * kept_bytes(n_.head, element_) + streams() + attention() + layer;
  }

  // The shared input and the ones beside it; by head W x, what the output matrix reads and its gradient.
  [[nodiscard]] double medusa() const {
    return d() * (kept_bytes(n_.projection, element_) + (1 + 3 * static_cast<double>(c_.medusa_heads)) * element_);
  }

  [[nodiscard]] double attention() const {
    const auto heads = static_cast<double>(c_.num_attention_heads);
    const double meeting = heads * static_cast<double>(c_.value_head_dim());
    double bytes = heads * element_ + meeting * kept_bytes(n_.attention_output, element_);
    if (c_.attention == AttentionKind::kMla) {
      const auto latents = static_cast<double>(c_.q_lora_rank + c_.kv_lora_rank);
      bytes += (latents + static_cast<double>(c_.qk_rope_head_dim)) * element_;
      if (!pass_.recompute.norms) bytes += latents * kept_bytes(n_.projection, element_);
      if (!pass_.recompute.up_projections)
        bytes += (heads * static_cast<double>(2 * c_.qk_head_dim()) + meeting) * element_;
      return bytes;
    }
    return bytes +
           (heads * static_cast<double>(c_.head_dim) + 2 * static_cast<double>(c_.num_key_value_heads * c_.head_dim)) *
               element_;
  }

  [[nodiscard]] double ffn(double width) const {
    const double hidden = pass_.recompute.swiglu ? 0 : kept_bytes(n_.projection, element_);
    return width * (2 * element_ + hidden);
  }

  [[nodiscard]] double mixture() const {
    const auto k = static_cast<double>(c_.num_experts_per_tok);
    const auto width = static_cast<double>(c_.moe_intermediate_size);
    double row = d() * element_;  // the experts' outputs
    if (n_.expert_in.tensor_core) row += d() * kept_bytes(n_.expert_in, element_);
    row += 2 * width * (n_.fp8_swiglu_cache ? 1 : element_);
    if (!pass_.recompute.swiglu && !n_.fp8_swiglu_cache) row += width * kept_bytes(n_.expert_down, element_);
    const double router = static_cast<double>(c_.n_routed_experts) * element_ + k * (8 + 8 + element_);
    return k * row + router + ffn(static_cast<double>(c_.n_shared_experts) * width);
  }

  const ModelConfig& c_;
  const ops::Numerics& n_;
  const PlannedPass& pass_;
  double element_;
  double tokens_;
  std::vector<MemoryPart> parts_;
};

}  // namespace

std::vector<MemoryPart> memory_plan(const ModelConfig& config, const ops::Numerics& numerics, const PlannedPass& pass) {
  return Planner(config, numerics, pass).plan();
}

double total_bytes(const std::vector<MemoryPart>& plan) {
  double total = 0;
  for (const MemoryPart& part : plan) total += part.bytes;
  return total;
}

std::string memory_plan_text(const std::vector<MemoryPart>& plan) {
  std::string text;
  for (const MemoryPart& part : plan) text += fmt::format("{:<50} {:>12.3f} MB\n", part.name, part.bytes * 1e-6);
  return text + fmt::format("{:<50} {:>12.3f} MB\n", "total", total_bytes(plan) * 1e-6);
}

}  // namespace lastbit::model

// What every layer of one pass through the model shares.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/config.h"
#include "model/gradients.h"
#include "model/key_value_cache.h"
#include "model/taps.h"
#include "model/token_layout.h"
#include "model/weights.h"
#include "ops/linear.h"
#include "ops/load_metrics.h"
#include "ops/numerics.h"
#include "ops/rope.h"
#include "ops/shadow.h"

namespace lastbit::model {

// How multi-head latent attention is executed: keys and values expanded from the latent, or the up-projections folded
// into the queries and the output, attending in latent space. Equal within rounding.
enum class MlaForm : std::uint8_t { kNaive, kAbsorbed };

// What the backward pass makes again rather than keeps; the bits are the same.
struct Recompute {
  bool norms = false;           // the results of RMSNorms
  bool up_projections = false;  // queries, keys and values of MLA
  bool swiglu = false;          // silu(gate) * up

  friend bool operator==(const Recompute&, const Recompute&) = default;
};

// Names the random numbers of one training step.
struct Randomness {
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
};

// What one MoE layer did in one pass.
struct LayerRouting {
  std::int64_t layer = 0;
  ops::LoadMetrics metrics;   // nodes: lastbit_devices, which is n_group unless the config says otherwise
  double auxiliary_loss = 0;  // the sum of what the config asks for; 0 where the pass does not take its gradient
};

struct PassContext {
  const ModelConfig& config;
  const Weights& weights;
  const ops::Numerics& numerics;
  const ops::RopeTables& rope;
  const TokenLayout& layout;
  Taps& taps;
  ops::Shadow* shadow = nullptr;
  KeyValueCache* cache = nullptr;  // grows by the tokens of the pass
  MlaForm mla_form = MlaForm::kNaive;
  bool keep = false;  // what backward() needs
  Recompute recompute = {};
  bool balance_loss = false;                     // the config's auxiliary losses join the routers' gradients
  std::optional<Randomness> randomness = {};     // jitter and random second experts; without: neither, as in evaluation
  std::vector<LayerRouting>* routing = nullptr;  // gets an entry from each MoE layer
  Gradients* gradients = nullptr;                // added to by backward()
  const tensor::Tensor* padding = nullptr;       // [B, S] bool: tokens that are nobody's target
  ops::DelayedScales* scales = nullptr;          // of policies with delayed scales

  [[nodiscard]] ops::LinearSite site(std::string name) const { return {std::move(name), shadow, scales}; }

  [[nodiscard]] PassContext with_layout(const TokenLayout& other) const {
    return {config, weights,   numerics,     rope,       other,   taps,      shadow,  cache, mla_form,
            keep,   recompute, balance_loss, randomness, routing, gradients, padding, scales};
  }
};

}  // namespace lastbit::model

// A model on a device: its memory, its weights, and passes forward.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device/head_layer.h"
#include "kernels/device/pass.h"
#include "model/config.h"
#include "model/memory_plan.h"
#include "model/weights.h"

namespace lastbit::device {

// model_use() makes one of a policy.
struct ModelUse {
  Element element = Element::kF32;  // of activations
  bool mtp = false;                 // the MTP modules' weights, too
  bool gradients = false;           // room for them, too
  bool moments = false;             // likewise, of the optimiser
  bool fp8 = false;                 // forward alone: linear layers multiply E4M3 codes (fp8_products.h)
};

class DeviceModel {
 public:
  // `bytes`: what the passes to come take, from a DeviceModel under Memory::kCounted that ran them.
  // Errors: as require_supported; kUnsupported where the device has no such room.
  DeviceModel(model::ModelConfig config, const ModelUse& use, Memory memory, std::size_t bytes);
  DeviceModel(const DeviceModel&) = delete;
  DeviceModel& operator=(const DeviceModel&) = delete;

  [[nodiscard]] const model::ModelConfig& config() const { return config_; }
  [[nodiscard]] const ModelUse& use() const { return use_; }
  [[nodiscard]] Runtime& runtime() { return runtime_; }
  [[nodiscard]] const Runtime& runtime() const { return runtime_; }
  [[nodiscard]] Parameters& parameters() { return parameters_; }
  [[nodiscard]] const Parameters& parameters() const { return parameters_; }
  // [MoE layers, experts] i64, with gradients: the tokens of each expert in the passes of a step.
  [[nodiscard]] const Array& loads() const { return loads_; }
  void upload(const model::Weights& weights) { parameters_.upload(weights); }
  // What all passes so far took at most, by kind: the sum is the runtime's peak_bytes().
  [[nodiscard]] std::vector<model::MemoryPart> memory_parts() const;

  // ids [B, S] i64 -> taps by the names of model/transformer.h, of which the device has these: "logits" [B, S,
  // vocabulary], "logits.last" [B, vocabulary], "loss" [1], "hidden.layerN" [B, S, d], and of mixtures
  // "router.logits.layerN", "router.topk_idx.layerN" and "router.topk_weight.layerN".
  // Errors (bad input): another tap, ids as check_token_ids; a logit that is not finite.
  [[nodiscard]] tensor::NamedTensors forward(const tensor::Tensor& ids, const std::vector<std::string>& taps);

  // Room for decoding one sequence of so many tokens.
  void make_cache(std::int64_t capacity);
  // Tokens [1, S] after those that the cache holds -> the last one's logits [vocabulary]. Errors: as forward(); beyond
  // the cache's capacity is an internal error.
  [[nodiscard]] std::vector<float> decode(const tensor::Tensor& ids);

 private:
  [[nodiscard]] Pass make_pass(const model::TokenLayout& layout, const tensor::Tensor& ids);
  void run_blocks(const Pass& pass, const Array& hidden);
  void tap_loss(const Pass& pass, HeadLayer& head, PassTaps& taps);
  void tap_logits(const HeadLayer& head, const tensor::Tensor& ids, PassTaps& taps);
  void check_routers(const Pass& pass);

  model::ModelConfig config_;
  ModelUse use_;
  Runtime runtime_;
  Parameters parameters_;
  Array loads_;
  std::optional<LatentCache> cache_;
};

}  // namespace lastbit::device

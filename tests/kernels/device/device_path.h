// What tests of the device path share: small models with weights of their own, and comparisons with the reference.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "core/philox.h"
#include "io/config_file.h"
#include "model/config_file.h"
#include "model/init.h"
#include "model/transformer.h"
#include "model/weight_specs.h"
#include "support/shared.h"

namespace lastbit::device {

// The preset tiny with some keys changed.
inline model::ModelConfig tiny_config(const nlohmann::json& changes = nlohmann::json::object()) {
  const std::string path = testing::source_path("data/models/tiny.json");
  nlohmann::json object = io::load_config_file(path);
  object.merge_patch(changes);
  return model::parse_model_config(object, path);
}

// Four layers as tiny's, but small: for what takes the executor long.
inline model::ModelConfig small_config() {
  return tiny_config({{"vocab_size", 128},
                      {"hidden_size", 64},
                      {"intermediate_size", 96},
                      {"n_routed_experts", 8},
                      {"num_experts_per_tok", 2},
                      {"moe_intermediate_size", 48}});
}

// Initial weights four times as large, so that scores and choices turn on them, and gains and routing biases that are
// not all alike.
inline tensor::NamedTensors drawn_weights(const model::ModelConfig& config) {
  std::vector<model::WeightSpec> specs = model::main_weights(config);
  for (const model::WeightSpec& spec : model::mtp_weights(config))
    if (spec.copy_of.empty()) specs.push_back(spec);
  tensor::NamedTensors weights;
  for (const model::WeightSpec& spec : specs) {
    tensor::Tensor weight = model::initial_weight(spec, config, 5).clone();
    const core::RandomStream random(7, spec.name);
    const auto values = weight.mutable_values<float>();
    const bool matrix = spec.kind == model::WeightKind::kMatrix;
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = matrix ? 4 * values[i] : values[i] + 0.1F * (2 * random.uniform(i) - 1);
    weights[spec.name] = weight;
  }
  return weights;
}

inline tensor::Tensor drawn_ids(const model::ModelConfig& config, std::int64_t batch, std::int64_t tokens) {
  tensor::Tensor ids = tensor::Tensor::empty(tensor::DType::kI64, {batch, tokens});
  const core::RandomStream random(9, "ids");
  const auto values = ids.mutable_values<std::int64_t>();
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int64_t>(random.word(i) % static_cast<std::uint64_t>(config.vocab_size));
  return ids;
}

// |x - y| / |y|.
inline double relative_distance(const tensor::Tensor& x, const tensor::Tensor& y) {
  EXPECT_EQ(x.shape(), y.shape());
  const auto a = x.values<float>();
  const auto b = y.values<float>();
  double distance = 0;
  double norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    distance += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return norm == 0 ? std::sqrt(distance) : std::sqrt(distance / norm);
}

}  // namespace lastbit::device

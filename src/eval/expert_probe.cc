#include "eval/expert_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "io/html_page.h"
#include "io/svg_chart.h"
#include "model/weight_specs.h"
#include "ops/load_metrics.h"

namespace lastbit::eval {
namespace {

using tensor::Tensor;

std::vector<std::int64_t> routed_layers(const model::ModelConfig& config) {
  std::vector<std::int64_t> layers;
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    if (config.is_moe_layer(layer)) layers.push_back(layer);
  if (layers.empty()) core::fail_input("experts: the model has none, expected one with routed experts");
  return layers;
}

// Weights that are changed while this lives.
class Changed {
 public:
  explicit Changed(model::Weights& weights) : weights_(weights) {}
  ~Changed() {
    for (auto& [name, before] : before_) weights_.of(name) = before;
  }
  Changed(const Changed&) = delete;
  Changed& operator=(const Changed&) = delete;

  // A copy in the weight's place.
  std::span<float> change(const std::string& name) {
    Tensor& weight = weights_.of(name);
    before_.emplace(name, weight);
    weight = weight.clone();
    return weight.mutable_values<float>();
  }

 private:
  model::Weights& weights_;
  std::map<std::string, Tensor> before_;
};

// The `count` most loaded experts, ties to the lower one.
std::vector<std::size_t> most_loaded(const std::vector<std::int64_t>& load, std::int64_t count) {
  std::vector<std::size_t> order(load.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return load[a] > load[b]; });
  order.resize(static_cast<std::size_t>(count));
  return order;
}

}  // namespace

std::map<std::int64_t, std::vector<std::int64_t>> expert_loads(const model::Transformer& model, const Tensor& ids,
                                                               std::int64_t batch) {
  const std::vector<std::int64_t> layers = routed_layers(model.config());
  model::ForwardOptions options;
  options.taps.clear();
  for (const std::int64_t layer : layers) options.taps.push_back(fmt::format("router.topk_idx.layer{}", layer));
  std::map<std::int64_t, std::vector<std::int64_t>> loads;
  for (const std::int64_t layer : layers)
    loads[layer].resize(static_cast<std::size_t>(model.config().n_routed_experts), 0);
  for (std::int64_t row = 0; row < ids.dim(0); row += batch) {
    const Tensor part = ids.slice(0, row, std::min(row + batch, ids.dim(0))).contiguous();
    const tensor::NamedTensors taps = model.forward(part, options);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::vector<std::int64_t> load =
          ops::expert_load(taps.at(options.taps[i]), model.config().n_routed_experts);
      std::ranges::transform(loads[layers[i]], load, loads[layers[i]].begin(), std::plus<>());
    }
  }
  return loads;
}

DomainLoads domain_loads(const model::Transformer& model, const std::map<std::string, Tensor>& domains,
                         std::int64_t batch) {
  DomainLoads result;
  result.layers = routed_layers(model.config());
  result.shares.resize(result.layers.size());
  for (const auto& [domain, ids] : domains) {
    result.domains.push_back(domain);
    const auto loads = expert_loads(model, ids, batch);
    for (std::size_t i = 0; i < result.layers.size(); ++i) {
      std::vector<double> shares;
      for (const std::int64_t load : loads.at(result.layers[i]))
        shares.push_back(static_cast<double>(load) / static_cast<double>(ids.size()));
      result.shares[i].push_back(std::move(shares));
    }
  }
  return result;
}

std::string domain_load_page(const DomainLoads& loads, const std::string& title) {
  std::string body = fmt::format("<h1>{}</h1>\n<div class=\"charts\">\n", io::xml_escaped(title));
  for (std::size_t i = 0; i < loads.layers.size(); ++i) {
    io::HeatMap map;
    map.title = fmt::format("Layer {}", loads.layers[i]);
    map.x_label = "expert";
    map.y_label = "domain";
    map.value_label = "share of the domain's tokens";
    map.row_names = loads.domains;
    map.values = loads.shares[i];
    const std::size_t experts = map.values.empty() ? 0 : map.values.front().size();
    map.column_names = {"0", std::to_string(experts == 0 ? 0 : experts - 1)};
    map.high = 0;
    for (const auto& row : map.values) map.high = std::max(map.high, *std::ranges::max_element(row));
    body += io::heat_map_svg(map);
  }
  return io::html_page(title, body + "</div>\n");
}

TextScore score_without_top_experts(model::Transformer& model, const Tensor& ids,
                                    std::span<const std::int64_t> token_bytes, std::int64_t count, std::int64_t batch) {
  const model::ModelConfig& config = model.config();
  if (config.router != model::RouterKind::kV3)
    core::fail_unsupported("experts: this router has no bias, expected DeepSeek-V3's");
  const std::int64_t most = config.n_routed_experts - config.num_experts_per_tok;
  if (count < 0 || count > most)
    core::fail_input("experts: {} without, expected 0 to {}: a token takes {} of {}", count, most,
                     config.num_experts_per_tok, config.n_routed_experts);
  constexpr float kNever = -1e6F;
  Changed changed(model.weights());
  for (const auto& [layer, load] : expert_loads(model, ids, batch)) {
    const auto bias = changed.change(model::layer_prefix(layer) + "mlp.gate.e_score_correction_bias");
    for (const std::size_t expert : most_loaded(load, count)) bias[expert] = kNever;
  }
  return score_rows(model, ids, token_bytes, batch);
}

TextScore score_without_shared_experts(model::Transformer& model, const Tensor& ids,
                                       std::span<const std::int64_t> token_bytes, std::int64_t batch) {
  if (model.config().n_shared_experts == 0) core::fail_input("experts: the model shares none");
  Changed changed(model.weights());
  for (const std::int64_t layer : routed_layers(model.config()))
    std::ranges::fill(changed.change(model::layer_prefix(layer) + "mlp.shared_experts.down_proj.weight"), 0.0F);
  return score_rows(model, ids, token_bytes, batch);
}

}  // namespace lastbit::eval

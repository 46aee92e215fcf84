#include "sim/train/layout.h"

#include <cstdint>
#include <numeric>

#include "core/error.h"

namespace lastbit::sim::train {
namespace {

constexpr int kMostMicroBatches = 65536;  // a pipeline's lists of verbs must stay within reason

int stages_a_rank(const Layout& layout) {
  return layout.schedule == "dualpipev" || layout.schedule == "zb-v" ? 2 : layout.chunks;
}

// A stage without a layer is for stage_layers to say.
void check_stages(const model::ModelConfig& model, const Layout& layout) {
  const std::int64_t model_layers = model.num_hidden_layers;
  if (layout.stage_layers.empty()) {
    const std::int64_t stages = std::int64_t{layout.pipeline} * stages_a_rank(layout);
    if (stages > model_layers) {
      core::fail_input(
          "layout: pipeline {} x {} stages a rank = {} stages, expected at most the model's {} layers, or stage_layers "
          "with zeros for stages that hold none",
          layout.pipeline, stages_a_rank(layout), stages, model_layers);
    }
    return;
  }
  const int layers = std::accumulate(layout.stage_layers.begin(), layout.stage_layers.end(), 0);
  if (layers != model_layers) {
    core::fail_input("layout: stage_layers add up to {}, but the model has {} layers", layers, model_layers);
  }
}

// Tensor-parallel ranks exchange over NVLink alone.
void check_tensor_parallel(const model::ModelConfig& model, const cluster::Cluster& cluster, const Layout& layout) {
  if (layout.tensor == 1) return;
  if (cluster.node.gpus % layout.tensor != 0) {
    core::fail_input("layout: tensor {} does not divide the {} GPUs of a node", layout.tensor, cluster.node.gpus);
  }
  const auto divides = [&layout](std::int64_t count, const char* what) {
    if (count % layout.tensor != 0) {
      core::fail_input("layout: tensor {} does not divide the model's {} {}", layout.tensor, count, what);
    }
  };
  divides(model.num_attention_heads, "attention heads");
  if (model.attention == model::AttentionKind::kGqa) divides(model.num_key_value_heads, "key-value heads");
  divides(model.intermediate_size, "FFN channels");
}

}  // namespace

Groups check_layout(const model::ModelConfig& model, const cluster::Cluster& cluster, const Job& job,
                    const Phase& phase) {
  const Layout& layout = job.layout;
  Groups groups;
  groups.world = cluster.gpus();
  const int model_ranks = layout.pipeline * phase.context_parallel * layout.tensor;
  if (groups.world % model_ranks != 0) {
    core::fail_input("layout: pipeline {} x context_parallel {} x tensor {} = {} does not divide the {} GPUs of {}",
                     layout.pipeline, phase.context_parallel, layout.tensor, model_ranks, groups.world, cluster.name);
  }
  check_tensor_parallel(model, cluster, layout);
  groups.data_parallel = groups.world / model_ranks;
  const int stage_ranks = groups.world / layout.pipeline;
  if (model.n_routed_experts > 0) {
    if (stage_ranks % layout.expert != 0) {
      core::fail_input("layout: expert {} does not divide the {} ranks of a pipeline stage", layout.expert,
                       stage_ranks);
    }
    if (model.n_routed_experts % layout.expert != 0) {
      core::fail_input("layout: expert {} does not divide the model's {} experts", layout.expert,
                       model.n_routed_experts);
    }
    const int gpus = cluster.node.gpus;
    if (layout.expert % gpus != 0 && gpus % layout.expert != 0) {
      core::fail_input("layout: expert {} neither fills nodes of {} GPUs nor divides one", layout.expert, gpus);
    }
  }
  check_stages(model, layout);
  const int per_step = groups.data_parallel * layout.micro_batch_sequences;
  if (phase.batch_sequences % per_step != 0) {
    core::fail_input("layout: a batch of {} sequences does not divide into {} pipelines x {} sequences a micro-batch",
                     phase.batch_sequences, groups.data_parallel, layout.micro_batch_sequences);
  }
  groups.micro_batches = phase.batch_sequences / per_step;
  if (groups.micro_batches > kMostMicroBatches) {
    core::fail_input("layout: {} micro-batches a pipeline and step, expected at most {}", groups.micro_batches,
                     kMostMicroBatches);
  }
  if (phase.sequence_tokens % phase.context_parallel != 0) {
    core::fail_input("layout: context_parallel {} does not divide a sequence of {} tokens", phase.context_parallel,
                     phase.sequence_tokens);
  }
  if (job.precision.communication_sms >= cluster.gpu.sms) {
    core::fail_input("precision: communication_sms {} leaves no SM of {} to compute", job.precision.communication_sms,
                     cluster.gpu.sms);
  }
  return groups;
}

std::vector<int> stage_layers(const model::ModelConfig& model, const Layout& layout) {
  if (!layout.stage_layers.empty()) return layout.stage_layers;
  const int stages = layout.pipeline * stages_a_rank(layout);
  const int layers = static_cast<int>(model.num_hidden_layers);
  std::vector<int> result(static_cast<std::size_t>(stages), layers / stages);
  // One more layer for each of the middle stages until all are placed.
  const int more = layers % stages;
  const int first = (stages - more) / 2;
  for (int s = first; s < first + more; ++s) ++result[static_cast<std::size_t>(s)];
  return result;
}

std::vector<StageUnits> stage_units(const model::ModelConfig& model, const Layout& layout,
                                    const std::vector<double>& layer_load_factors) {
  std::size_t routed = 0;
  const auto moe_layer = [&]() -> StageUnit {
    const std::size_t index = routed++;
    StageUnit unit(UnitKind::kMoeLayer, index < layer_load_factors.size() ? layer_load_factors[index] : 0);
    unit.moe_layer = static_cast<int>(index);
    return unit;
  };
  const std::vector<int> layers = stage_layers(model, layout);
  std::vector<StageUnits> stages(layers.size());
  std::int64_t layer = 0;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    if (s == 0) stages[s].push_back(UnitKind::kEmbedding);
    for (int i = 0; i < layers[s]; ++i, ++layer) {
      stages[s].push_back(model.is_moe_layer(layer) ? moe_layer() : StageUnit(UnitKind::kDenseLayer));
    }
  }
  StageUnits& last = stages.back();
  last.push_back(UnitKind::kHead);
  for (std::int64_t module = 0; module < model.num_nextn_predict_layers; ++module) {
    last.push_back(UnitKind::kMtpProjection);
    last.push_back(model.is_moe_layer(model.num_hidden_layers) ? moe_layer() : StageUnit(UnitKind::kDenseLayer));
    last.push_back(UnitKind::kHead);
  }
  return stages;
}

}  // namespace lastbit::sim::train

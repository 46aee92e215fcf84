#include "sim/train/workload_dump.h"

#include <nlohmann/json.hpp>

#include "sim/workload/ends.h"

namespace lastbit::sim::train {
namespace {

using nlohmann::json;
using workload::Operator;

const char* unit_name(UnitKind kind) {
  switch (kind) {
    case UnitKind::kEmbedding:
      return "embedding";
    case UnitKind::kDenseLayer:
      return "dense_layer";
    case UnitKind::kMoeLayer:
      return "moe_layer";
    case UnitKind::kHead:
      return "head";
    case UnitKind::kMtpProjection:
      return "mtp_projection";
  }
  return "";
}

json operator_json(const Operator& op, const cost::CostModel& cost, double compute_sms) {
  const cost::Timed alone = cost.operator_time(op, cost.cluster().gpu.sms);
  const cost::Timed beside = cost.operator_time(op, compute_sms);
  json entry = {{"operator", op.name},
                {"kind", workload::kind_name(op.kind)},
                {"flops", op.cost.flops},
                {"model_flops", op.model_flops},
                {"bytes", op.cost.bytes_read + op.cost.bytes_written + op.score_bytes},
                {"recomputed", op.again},
                {"seconds", alone.seconds},
                {"seconds_beside_communication", beside.seconds},
                {"provenance", cost::kProvenanceNames[static_cast<std::size_t>(beside.provenance)]}};
  if (op.tokens > 0) {
    entry["format"] = op.format == workload::Format::kFp8 ? "fp8" : "bf16";
    entry["shape"] = {{"rows", op.tokens}, {"n", op.n}, {"k", op.k}, {"groups", op.groups}};
  } else if (op.queries > 0) {
    entry["shape"] = {{"sequences", op.repeats}, {"queries", op.queries}, {"keys", op.keys},
                      {"heads", op.heads},       {"qk_dim", op.qk_dim},   {"v_dim", op.v_dim}};
  } else if (op.rows > 0) {
    entry["shape"] = {{"rows", op.rows}, {"width", op.width}};
  } else {
    entry["nic_bytes"] = op.nic_bytes;
    entry["nvlink_bytes"] = op.nvlink_bytes;
  }
  return entry;
}

json list_json(const std::vector<Operator>& ops, const cost::CostModel& cost, double compute_sms) {
  json list = json::array();
  for (const Operator& op : ops) list.push_back(operator_json(op, cost, compute_sms));
  return list;
}

json layer_json(const workload::LayerWork& work, const cost::CostModel& cost, double compute_sms) {
  json entry = json::object();
  for (std::size_t s = 0; s < workload::kNumSegments; ++s) {
    entry["segments"][workload::segment_name(static_cast<workload::Segment>(s))] =
        list_json(work.segments[s], cost, compute_sms);
  }
  for (std::size_t t = 0; t < workload::kNumTransfers; ++t) {
    if (!work.transfers[t]) continue;
    const workload::Transfer& transfer = *work.transfers[t];
    entry["messages"][workload::transfer_name(static_cast<workload::TransferKind>(t))] = {
        {"logical_bytes", transfer.logical_bytes},
        {"nic_bytes", transfer.nic_bytes},
        {"nvlink_bytes", transfer.nvlink_bytes}};
  }
  entry["model_flops"] = work.model_flops();
  return entry;
}

json end_json(const workload::EndWork& work, const cost::CostModel& cost, double compute_sms) {
  return {{"forward", list_json(work.forward, cost, compute_sms)},
          {"backward", list_json(work.backward, cost, compute_sms)},
          {"weight", list_json(work.weight, cost, compute_sms)}};
}

}  // namespace

json workload_json(const model::ModelConfig& model, const Job& job, const cost::CostModel& cost, const Phase& phase) {
  const workload::LayerSetting setting = layer_setting(model, job, cost, phase);
  const double compute_sms = cost.cluster().gpu.sms - job.precision.communication_sms;
  json units = json::object();
  json stages = json::array();
  for (const StageUnits& stage : stage_units(model, job.layout, job.layer_load_factors)) {
    json held = json::array();
    for (const StageUnit& unit : stage) {
      const std::string name = unit_name(unit.kind);
      held.push_back(unit.load_factor > 0 ? json{{"unit", name}, {"load_factor", unit.load_factor}} : json(name));
      if (units.contains(name)) continue;
      if (unit.kind == UnitKind::kDenseLayer || unit.kind == UnitKind::kMoeLayer) {
        units[name] = layer_json(workload::layer_work(setting, unit.kind == UnitKind::kMoeLayer), cost, compute_sms);
      } else {
        units[name] = end_json(unit.kind == UnitKind::kEmbedding ? workload::embedding_work(setting)
                               : unit.kind == UnitKind::kHead    ? workload::head_work(setting)
                                                                 : workload::mtp_projection_work(setting),
                               cost, compute_sms);
      }
    }
    stages.push_back(std::move(held));
  }
  return {{"schema_version", 1},
          {"phase", phase.name},
          {"tokens_a_micro_batch_and_rank", setting.tokens},
          {"sequence_tokens", setting.sequence_tokens},
          {"tensor_parallel", setting.tensor_parallel},
          {"context_parallel", setting.context_parallel},
          {"expert_ranks", setting.routing.expert_ranks},
          {"compute_sms_beside_communication", compute_sms},
          {"stages", std::move(stages)},
          {"units", std::move(units)}};
}

}  // namespace lastbit::sim::train

// The machine form of a training forecast.
#include <map>
#include <nlohmann/json.hpp>

#include "sim/train/forecast.h"

namespace lastbit::sim::train {
namespace {

using nlohmann::json;

json breakdown_json(const Breakdown& part) {
  return {{"F_s", part.forward_s},
          {"B_s", part.backward_s},
          {"W_s", part.weight_s},
          {"FB_s", part.fused_s},
          {"bubble_s", part.bubble_s},
          {"optimizer_s", part.optimizer_s},
          {"exposed_comm_s", part.exposed_comm_s}};
}

json shares_of_step(const std::vector<std::vector<double>>& seconds, double step_s) {
  json rows = json::array();
  for (const std::vector<double>& row : seconds) {
    json shares = json::array();
    for (const double link_s : row) shares.push_back(link_s / step_s);
    rows.push_back(std::move(shares));
  }
  return rows;
}

json memory_json(const JobMemory& memory) {
  json ranks = json::array();
  for (const RankMemory& rank : memory.ranks) {
    json parts = json::object();
    for (const memory::Part& part : rank.parts) parts[part.name] = part.bytes;
    ranks.push_back({{"held_bytes", rank.held_bytes},
                     {"peak_bytes", rank.peak_bytes},
                     {"needed_bytes", rank.needed_bytes},
                     {"peak_at_s", rank.timeline.peak_at.s},
                     {"parts", std::move(parts)}});
  }
  return {{"capacity_bytes", memory.capacity_bytes},
          {"peak_bytes", memory.peak().peak_bytes},
          {"needed_bytes", memory.peak().needed_bytes},
          {"rank", memory.worst},
          {"fits", memory.fits()},
          {"ranks", std::move(ranks)}};
}

json phase_json(const PhaseForecast& phase) {
  json stages = json::array();
  for (const StageForecast& stage : phase.stages) {
    stages.push_back({{"layers", stage.layers},
                      {"F_s", stage.forward_s},
                      {"B_s", stage.backward_s},
                      {"W_s", stage.weight_s},
                      {"FB_s", stage.fused_s}});
  }
  json part = {{"sequence_tokens", phase.phase.sequence_tokens},
               {"batch_sequences", phase.phase.batch_sequences},
               {"tokens", phase.phase.tokens},
               {"context_parallel", phase.phase.context_parallel},
               {"data_parallel", phase.groups.data_parallel},
               {"micro_batches", phase.groups.micro_batches},
               {"schedule", phase.schedule},
               {"step_s", phase.step_s},
               {"steps", phase.steps},
               {"gpu_hours", phase.gpu_hours},
               {"pipeline_hop_s", phase.hop_s},
               {"peak_memory_bytes", phase.memory.peak().peak_bytes},
               {"breakdown", breakdown_json(phase.first)},
               {"breakdown_mean", breakdown_json(phase.mean)},
               {"stages", std::move(stages)}};
  if (!phase.phase.assumed.empty()) part["assumed"] = phase.phase.assumed;
  return part;
}

// By name: hours, the parts they are made of, and whether they were predicted.
json phases_json(const Forecast& forecast) {
  json phases = json::object();
  for (const Phase& phase : forecast.job.phases) {
    json& entry = phases[phase.name];
    if (entry.is_null()) entry = {{"gpu_hours", 0.0}, {"predicted", true}};
    if (!phase.given_gpu_hours) continue;
    entry["gpu_hours"] = entry["gpu_hours"].get<double>() + *phase.given_gpu_hours;
    entry["predicted"] = false;
  }
  for (const PhaseForecast& phase : forecast.phases) {
    json& entry = phases[phase.phase.name];
    entry["gpu_hours"] = entry["gpu_hours"].get<double>() + phase.gpu_hours;
    entry["parts"].push_back(phase_json(phase));
  }
  for (auto& [name, entry] : phases.items()) {
    entry["usd"] = entry["gpu_hours"].get<double>() * forecast.job.usd_per_gpu_hour;
  }
  return phases;
}

double hidden_share(const ProfileCheck& profile) {
  return profile.transfer_s > 0 ? profile.hidden_s / profile.transfer_s : 0;
}

json provenance_json(const Census& census) {
  json result = json::object();
  for (std::size_t i = 0; i < cost::kNumProvenances; ++i) {
    result[cost::kProvenanceNames[i]] = {{"operators", census.operators[i]}, {"seconds", census.seconds[i]}};
  }
  return result;
}

json assumptions_json(const cost::Assumptions& assumptions) {
  json result = json::array();
  for (const cost::Assumption& entry : assumptions.entries()) {
    json one = {{"name", entry.name}, {"value", entry.value}, {"unit", entry.unit}, {"source", entry.source}};
    if (entry.range) one["range"] = {entry.range->low, entry.range->high};
    result.push_back(std::move(one));
  }
  return result;
}

json uncertainty_json(const Forecast& forecast) {
  const Uncertainty& uncertainty = forecast.uncertainty;
  json swings = json::array();
  for (const Uncertainty::Swing& swing : uncertainty.swings) {
    swings.push_back({{"assumption", swing.name},
                      {"low", swing.low},
                      {"high", swing.high},
                      {"step_at_low_s", swing.step_at_low_s},
                      {"step_at_high_s", swing.step_at_high_s}});
  }
  json result = {{"samples", uncertainty.samples},
                 {"step_p5_s", uncertainty.p5_s},
                 {"step_p50_s", uncertainty.p50_s},
                 {"step_p95_s", uncertainty.p95_s},
                 {"swings", std::move(swings)}};
  if (uncertainty.samples == 0) return result;
  const double low = forecast.gpu_hours_at(uncertainty.p5_s);
  const double high = forecast.gpu_hours_at(uncertainty.p95_s);
  result["gpu_hours_p5"] = low;
  result["gpu_hours_p95"] = high;
  result["usd_p5"] = low * forecast.job.usd_per_gpu_hour;
  result["usd_p95"] = high * forecast.job.usd_per_gpu_hour;
  return result;
}

// The published figures with the predicted one and the relative error of each.
json published_json(const Forecast& forecast, const json& predicted) {
  json result = json::object();
  for (const auto& [key, figure] : forecast.published) {
    std::string pointer = "/" + key;
    for (char& c : pointer) c = c == '.' ? '/' : c;
    const json::json_pointer place(pointer);
    if (!predicted.contains(place)) continue;
    const json& holder = predicted.at(place.parent_pointer());
    if (holder.is_object() && !holder.value("predicted", true)) continue;  // given, so there is no error to state
    const double value = predicted.at(place).get<double>();
    result[key] = {{"published", figure.value},
                   {"predicted", value},
                   {"error", figure.value > 0 ? value / figure.value - 1 : 0},
                   {"source", figure.source}};
  }
  return result;
}

}  // namespace

json to_json(const Forecast& forecast) {
  const PhaseForecast& main = forecast.main();
  json result = {{"schema_version", 2},
                 {"model", forecast.model_name},
                 {"cluster", forecast.cluster.name},
                 {"job", forecast.job.name},
                 {"settings", forecast.settings},
                 {"schedule", main.schedule},
                 {"gpus", main.groups.world},
                 {"micro_batches", main.groups.micro_batches},
                 {"step_s", main.step_s},
                 {"tokens_per_day", forecast.tokens_per_day},
                 {"tokens_per_gpu_s", forecast.tokens_per_gpu_s},
                 {"flops_per_token_causal", forecast.flops_per_token_causal},
                 {"flops_per_token_noncausal", forecast.flops_per_token_noncausal},
                 {"tflops_per_gpu_causal", forecast.tflops_causal},
                 {"tflops_per_gpu_noncausal", forecast.tflops_noncausal},
                 {"mfu_causal", forecast.mfu_causal},
                 {"mfu_noncausal", forecast.mfu_noncausal},
                 {"gpu_hours_total", forecast.gpu_hours_total},
                 {"gpu_hours_given", forecast.gpu_hours_given},
                 {"usd_total", forecast.usd_total},
                 {"days_total", forecast.hours_total / 24},
                 {"total_flops", forecast.total_flops},
                 {"pf_days", forecast.total_flops / 86400e15},
                 {"breakdown", breakdown_json(main.first)},
                 {"breakdown_mean", breakdown_json(main.mean)},
                 {"memory", memory_json(main.memory)},
                 {"phases", phases_json(forecast)},
                 {"provenance", provenance_json(main.census)},
                 {"assumptions", assumptions_json(forecast.job.assumptions)},
                 {"calibration",
                  {{"sources", forecast.calibration_sources},
                   {"in_situ_factor", forecast.in_situ_factor},
                   {"profile_chunk_s", forecast.profile.span_s},
                   {"profile_hidden_share", hidden_share(forecast.profile)}}}};
  if (main.profile.span_s > 0) {
    result["calibration"]["profile_chunk_model_s"] = main.profile.span_s;
    result["calibration"]["profile_hidden_share_model"] = hidden_share(main.profile);
  }
  json links = json::array();
  for (const auto& row : forecast.links) {
    json entry = json::object();
    for (std::size_t work = 0; work < kNumLinkWorks; ++work) entry[kLinkWorkNames[work]] = row[work] / main.step_s;
    links.push_back(std::move(entry));
  }
  result["links_busy"] = std::move(links);
  if (forecast.replay) {
    const GroupReplay& replay = *forecast.replay;
    result["replay"] = {{"step_s", replay.step_s},
                        {"mean_load_factor", replay.mean_load_factor},
                        {"worst_load_factor", replay.worst_load_factor},
                        {"windows", replay.windows},
                        {"tokens_a_window", replay.tokens},
                        {"nic_busy", shares_of_step(replay.nic_s, replay.step_s)},
                        {"nvlink_busy", shares_of_step(replay.nvlink_s, replay.step_s)}};
  }
  if (forecast.energy_j > 0) result["energy_mwh"] = forecast.energy_j / 3.6e9;
  if (forecast.budget_usd > 0) result["budget"] = {{"usd", forecast.budget_usd}, {"tokens", forecast.budget_tokens}};
  if (forecast.deadline_days > 0) {
    json entry = {{"days", forecast.deadline_days}, {"kept", forecast.deadline.has_value()}};
    if (forecast.deadline) entry["gpus"] = forecast.deadline->gpus;
    result["deadline"] = std::move(entry);
  }
  for (const ScalingPoint& point : forecast.scaling) {
    json entry = {{"gpus", point.gpus}};
    if (point.refused.empty()) {
      entry["step_s"] = point.step_s;
      entry["days"] = point.hours / 24;
      entry["gpu_hours"] = point.gpu_hours;
      entry["efficiency"] = point.efficiency;
    } else {
      entry["refused"] = point.refused;
    }
    result["scaling"].push_back(std::move(entry));
  }
  if (!forecast.job.layer_load_factors.empty()) result["layer_load_factors"] = forecast.job.layer_load_factors;
  if (forecast.bound_step_s > 0) {
    result["uncertainty"] = uncertainty_json(forecast);
    for (const Contribution& entry : forecast.contributions) {
      result["contributions"].push_back({{"cause", entry.cause}, {"seconds", entry.seconds}});
    }
    result["bound_step_s"] = forecast.bound_step_s;
  }
  result["published"] = published_json(forecast, result);
  return result;
}

}  // namespace lastbit::sim::train

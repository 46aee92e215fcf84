#include "sim/train/forecast.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/config_file.h"
#include "model/config_file.h"
#include "model/counts.h"
#include "sim/cost/calibration.h"
#include "sim/cost/kernel_times.h"
#include "sim/schedule/build.h"
#include "sim/train/phase_operators.h"
#include "sim/train/routing_load.h"
#include "sim/train/workload_dump.h"

namespace lastbit::sim::train {
namespace {

model::ModelConfig load_model(const ForecastRequest& request, const std::vector<cluster::Override>& overrides) {
  const std::string path = model::model_config_path(request.model);
  nlohmann::json object = io::load_config_file(path);
  cluster::apply_overrides(object, overrides, "model");
  return model::parse_model_config(object, cluster::name_with_overrides(path, overrides, "model"));
}

void headline_figures(Forecast& forecast) {
  const PhaseForecast& phase = forecast.main();
  const double tokens = static_cast<double>(phase.phase.sequence_tokens) * phase.phase.batch_sequences;
  const double per_s = tokens / phase.step_s;
  forecast.tokens_per_day = per_s * 86400;
  forecast.tokens_per_gpu_s = per_s / phase.groups.world;
  forecast.flops_per_token_causal = model::count_flops(forecast.model, phase.phase.sequence_tokens, true).training();
  forecast.flops_per_token_noncausal =
      model::count_flops(forecast.model, phase.phase.sequence_tokens, false).training();
  forecast.tflops_causal = forecast.tokens_per_gpu_s * forecast.flops_per_token_causal / 1e12;
  forecast.tflops_noncausal = forecast.tokens_per_gpu_s * forecast.flops_per_token_noncausal / 1e12;
  forecast.mfu_causal = forecast.tflops_causal * 1e12 / forecast.cluster.gpu.bf16_flops;
  forecast.mfu_noncausal = forecast.tflops_noncausal * 1e12 / forecast.cluster.gpu.bf16_flops;
}

void add_confidence(Forecast& forecast, const cost::Calibration& calibration, const ForecastRequest& request) {
  const PhaseForecast& main = forecast.main();
  forecast.uncertainty = step_uncertainty(forecast.model, forecast.job, forecast.cluster, calibration, main.phase,
                                          request.samples, request.seed);
  forecast.contributions =
      step_contributions(forecast.model, forecast.job, forecast.cluster, calibration, main.phase, main.step_s);
  cost::Assumptions bound = forecast.job.assumptions;
  bound.set("perfect_kernels", 1);
  const cost::CostModel cost(forecast.cluster, calibration, bound);
  forecast.bound_step_s = forecast_phase(forecast.model, forecast.job, cost, main.phase).step_s;
}

// What a request names, loaded: everything of a forecast that is not predicted.
struct Subject {
  Forecast forecast;
  cost::Calibration calibration;
};

// Times that some operator of the phases takes; anything else would be passed over in silence.
void add_kernel_times(const Forecast& forecast, const std::string& path, cost::Calibration& calibration) {
  std::vector<cost::KernelTimes> given = cost::load_kernel_times(path);
  const cost::CostModel cost(forecast.cluster, calibration, forecast.job.assumptions);
  std::vector<workload::Operator> operators;
  for (const Phase& phase : forecast.job.phases) {
    if (phase.given_gpu_hours) continue;
    const std::vector<workload::Operator> own = phase_operators(forecast.model, forecast.job, cost, phase);
    operators.insert(operators.end(), own.begin(), own.end());
  }
  cost::check_kernel_times(given, operators);
  calibration.given = std::move(given);
}

Subject load_subject(const ForecastRequest& request) {
  const std::vector<cluster::Override> overrides = cluster::parse_overrides(request.settings);
  Subject subject;
  Forecast& forecast = subject.forecast;
  forecast.model_name = request.model;
  forecast.settings = request.settings;
  forecast.model = load_model(request, overrides);
  forecast.cluster = cluster::load_cluster(request.cluster, overrides);
  forecast.job = load_job(request.job, overrides);
  if (!request.schedule.empty()) forecast.job.layout.schedule = schedule::find_kind(request.schedule).name;
  if (!request.load.empty()) {
    forecast.job.layer_load_factors =
        layer_load_factors(forecast.model, forecast.job.layout, forecast.cluster, request.load, request.seed);
  }
  subject.calibration = cost::load_calibration(forecast.cluster.calibration);
  if (subject.calibration.has_tables() && !forecast.job.measured_kernels) subject.calibration = {};
  for (const cost::Efficiency& found : subject.calibration.efficiencies) {
    forecast.job.assumptions.calibrate(found.assumption, found.value,
                                       "data/calibration/" + forecast.cluster.calibration + ": " + found.measurement);
  }
  forecast.fitted_efficiencies = !subject.calibration.efficiencies.empty();
  if (!request.kernel_times.empty()) add_kernel_times(forecast, request.kernel_times, subject.calibration);
  return subject;
}

void add_plans(Forecast& forecast, const cost::Calibration& calibration, const ForecastRequest& request) {
  forecast.budget_usd = request.budget_usd;
  forecast.deadline_days = request.deadline_days;
  if (request.budget_usd > 0) {
    double headline = 0;
    double tokens = 0;
    for (const PhaseForecast& phase : forecast.phases) {
      if (phase.phase.name != forecast.main().phase.name) continue;
      headline += phase.gpu_hours;
      tokens += phase.phase.tokens;
    }
    forecast.budget_tokens = tokens_within_budget(request.budget_usd, forecast.job.usd_per_gpu_hour,
                                                  forecast.gpu_hours_total - headline, headline, tokens);
  }
  if (!request.scaling && request.deadline_days <= 0) return;
  const auto cluster_of = [&request](int nodes) {
    std::vector<cluster::Override> overrides = cluster::parse_overrides(request.settings);
    overrides.push_back({"cluster", {"nodes"}, std::to_string(nodes)});
    return cluster::load_cluster(request.cluster, overrides);
  };
  const std::vector<ScalingPoint> curve =
      scaling_curve(forecast.model, forecast.job, forecast.cluster, calibration, cluster_of, request.force);
  if (request.deadline_days > 0) forecast.deadline = within_deadline(curve, request.deadline_days);
  if (request.scaling) forecast.scaling = curve;
}

}  // namespace

Forecast forecast_training(const ForecastRequest& request) {
  const std::vector<cluster::Override> overrides = cluster::parse_overrides(request.settings);
  auto [forecast, calibration] = load_subject(request);
  const cost::CostModel cost(forecast.cluster, calibration, forecast.job.assumptions);
  for (const Phase& phase : forecast.job.phases) {
    if (phase.given_gpu_hours) {
      forecast.gpu_hours_given += *phase.given_gpu_hours;
      continue;
    }
    forecast.phases.push_back(forecast_phase(forecast.model, forecast.job, cost, phase));
    const JobMemory& memory = forecast.phases.back().memory;
    if (!memory.fits() && !request.force) {
      core::fail_input("phase {}, {} tokens a sequence: {} (--force forecasts it all the same)", phase.name,
                       phase.sequence_tokens, describe_shortage(memory));
    }
    if (phase.tokens > forecast.main().phase.tokens) forecast.headline = forecast.phases.size() - 1;
  }
  forecast.gpu_hours_total = forecast.gpu_hours_given;
  for (const PhaseForecast& phase : forecast.phases) forecast.gpu_hours_total += phase.gpu_hours;
  forecast.hours_total = forecast.gpu_hours_given / forecast.cluster.gpus();
  for (const PhaseForecast& phase : forecast.phases) {
    forecast.hours_total += phase.hours;
    forecast.total_flops +=
        phase.phase.tokens * model::count_flops(forecast.model, phase.phase.sequence_tokens, true).training();
  }
  forecast.energy_j = forecast.gpu_hours_total * 3600 * forecast.cluster.gpu.load_power_w;
  forecast.usd_total = forecast.gpu_hours_total * forecast.job.usd_per_gpu_hour;
  forecast.links = link_use(forecast.model, forecast.job, cost, forecast.main());
  if (!request.unfold.empty()) {
    forecast.replay = replay_group(forecast.model, forecast.job, cost, forecast.main(), request.unfold, request.seed);
  }
  add_plans(forecast, calibration, request);
  headline_figures(forecast);
  forecast.profile = {calibration.profile_span_s, calibration.profile_busy_s, calibration.profile_transfer_s,
                      calibration.profile_hidden_s};
  forecast.in_situ_factor = cost.in_situ_factor();
  forecast.calibration_sources = calibration.sources;
  if (request.samples > 0) add_confidence(forecast, calibration, request);
  // Published figures belong to the run as it was: not to a changed model, cluster or layout.
  bool changed = false;
  for (const cluster::Override& change : overrides) changed = changed || change.subject != "assume";
  if (!changed && (request.schedule.empty() || forecast.job.layout.schedule == "dualpipe")) {
    forecast.published = published_figures(request.model, forecast.cluster.name, forecast.job.name);
  }
  return forecast;
}

nlohmann::json dump_workload(const ForecastRequest& request) {
  const auto [forecast, calibration] = load_subject(request);
  const cost::CostModel cost(forecast.cluster, calibration, forecast.job.assumptions);
  const Phase* headline = nullptr;
  for (const Phase& phase : forecast.job.phases) {
    if (!phase.given_gpu_hours && (headline == nullptr || phase.tokens > headline->tokens)) headline = &phase;
  }
  (void)check_layout(forecast.model, forecast.cluster, forecast.job, *headline);
  return workload_json(forecast.model, forecast.job, cost, *headline);
}

}  // namespace lastbit::sim::train

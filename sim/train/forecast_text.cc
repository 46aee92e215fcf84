// The text of a training forecast.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "sim/train/forecast.h"
#include "sim/train/phase_lines.h"

namespace lastbit::sim::train {
namespace {

// "label   predicted   published   error", the last two only where there is a published figure.
class Table {
 public:
  Table(const Forecast& forecast, std::string& out) : forecast_(forecast), out_(out) {}

  void row(const char* label, const char* key, double predicted, double scale, int digits, const std::string& unit) {
    const auto found = forecast_.published.find(key);
    out_ += fmt::format("  {:<30}{:>11.{}f}", label, predicted * scale, digits);
    if (found != forecast_.published.end()) {
      const double published = found->second.value;
      out_ += fmt::format("{:>12.{}f}{:>+10.1f} %", published * scale, digits, 100 * (predicted / published - 1));
    } else {
      out_ += fmt::format("{:>12}{:>12}", "-", "");
    }
    out_ += fmt::format("  {}", unit);
    while (out_.back() == ' ') out_.pop_back();
    out_ += '\n';
  }

 private:
  const Forecast& forecast_;
  std::string& out_;
};

// Beside a figure: where nine of ten draws from the assumptions' ranges lie.
std::string interval(const Uncertainty& uncertainty, double low, double high, int digits) {
  if (uncertainty.samples == 0) return "";
  return fmt::format(", P5 to P95: {:.{}f} to {:.{}f}", low, digits, high, digits);
}

void add_header(const Forecast& forecast, std::string& out) {
  const PhaseForecast& main = forecast.main();
  out += fmt::format("{} on {} ({} x {}), job {}\n", forecast.model_name, forecast.cluster.name, main.groups.world,
                     forecast.cluster.gpu.name, forecast.job.name);
  out += fmt::format("{}: {} pipelines of {} ranks, {} micro-batches each; {} sequences of {} tokens a step\n\n",
                     main.schedule, main.groups.data_parallel, main.lists.ranks, main.groups.micro_batches,
                     thousands(main.phase.batch_sequences), thousands(main.phase.sequence_tokens));
}

void add_step(const Forecast& forecast, std::string& out) {
  const PhaseForecast& main = forecast.main();
  const Breakdown& b = main.first;
  out += fmt::format("  {:<30}{:>11}{:>12}{:>12}\n", "", "predicted", "published", "error");
  Table table(forecast, out);
  const Uncertainty& u = forecast.uncertainty;
  table.row("step", "step_s", main.step_s, 1, 3, "s" + interval(u, u.p5_s, u.p95_s, 2));
  table.row("  forward           F", "breakdown.F_s", b.forward_s, 1, 2, "s, first pipeline rank");
  table.row("  backward          B", "breakdown.B_s", b.backward_s, 1, 2, "s");
  table.row("  weight gradient   W", "breakdown.W_s", b.weight_s, 1, 2, "s");
  table.row("  overlapped      F&B", "breakdown.FB_s", b.fused_s, 1, 2, "s");
  table.row("  bubble", "breakdown.bubble_s", b.bubble_s, 1, 2, "s");
  table.row("  optimiser", "breakdown.optimizer_s", b.optimizer_s, 1, 2, "s");
  table.row("  of which exposed comm.", "breakdown.exposed_comm_s", b.exposed_comm_s, 1, 2, "s");
  if (b.weight_s > 0 && b.fused_s == 0) {
    out +=
        "  note: a backward without its weight gradient has less to run under its all-to-all, so a split one exposes\n"
        "        more communication than a full one, and this schedule overlaps nothing else with it\n";
  }
  table.row("tokens a day", "tokens_per_day", forecast.tokens_per_day, 1e-9, 1, "billion");
  table.row("tokens a second and GPU", "tokens_per_gpu_s", forecast.tokens_per_gpu_s, 1, 0, "");
  table.row("TFLOPS a GPU, causal", "tflops_per_gpu_causal", forecast.tflops_causal, 1, 0, "");
  table.row("TFLOPS a GPU, non-causal", "tflops_per_gpu_noncausal", forecast.tflops_noncausal, 1, 0, "");
  table.row("MFU, causal", "mfu_causal", forecast.mfu_causal, 100, 2, "% of the BF16 peak");
  table.row("MFU, non-causal", "mfu_noncausal", forecast.mfu_noncausal, 100, 2, "%");
}

void add_cost(const Forecast& forecast, const nlohmann::json& phases, std::string& out) {
  Table table(forecast, out);
  for (const auto& [name, entry] : phases.items()) {
    const bool predicted = entry["predicted"].get<bool>();
    const std::string key = predicted ? "phases." + name + ".gpu_hours" : "";
    const std::string label = fmt::format("GPU-hours, {}", phase_label(name));
    table.row(label.c_str(), key.c_str(), entry["gpu_hours"].get<double>(), 1e-3, 1,
              predicted ? "thousand" : "thousand, given, not predicted");
  }
  const Uncertainty& u = forecast.uncertainty;
  const double low = forecast.gpu_hours_at(u.p5_s) * 1e-3;
  const double high = forecast.gpu_hours_at(u.p95_s) * 1e-3;
  const double usd = forecast.job.usd_per_gpu_hour;
  table.row("GPU-hours", "gpu_hours_total", forecast.gpu_hours_total, 1e-3, 1, "thousand" + interval(u, low, high, 0));
  table.row(
      "cost", "usd_total", forecast.usd_total, 1e-6, 3,
      fmt::format("million USD at {} USD a GPU-hour{}", usd, interval(u, low * usd * 1e-3, high * usd * 1e-3, 2)));
}

void add_plan(const Forecast& forecast, std::string& out) {
  out += fmt::format("  {:<30}{:>11.1f}{:>24}  days\n", "time", forecast.hours_total / 24, "");
  out += fmt::format("  {:<30}{:>11.1f}{:>24}  PF-days of the model's work\n", "work", forecast.total_flops / 86400e15,
                     "");
  if (forecast.energy_j > 0) {
    out += fmt::format("  {:<30}{:>11.1f}{:>24}  MWh, GPUs at {:g} W\n", "energy", forecast.energy_j / 3.6e9, "",
                       forecast.cluster.gpu.load_power_w);
  }
  if (forecast.budget_usd > 0) {
    out += fmt::format("  {:<30}{:>11.1f}{:>24}  billion tokens of {} for {:.3f} million USD\n", "budget",
                       forecast.budget_tokens / 1e9, "", phase_label(forecast.main().phase.name),
                       forecast.budget_usd / 1e6);
  }
  if (forecast.deadline_days > 0) {
    out += forecast.deadline
               ? fmt::format("  {:<30}{:>11}{:>24}  GPUs keep {:g} days, with {:.1f}\n", "deadline",
                             forecast.deadline->gpus, "", forecast.deadline_days, forecast.deadline->hours / 24)
               : fmt::format("  {:<30}{:>11}{:>24}  of the numbers of GPUs tried keeps {:g} days\n", "deadline", "none",
                             "", forecast.deadline_days);
  }
  if (forecast.scaling.empty()) return;
  out += fmt::format("\n{:>10}{:>12}{:>12}{:>14}{:>14}\n", "GPUs", "step, s", "days", "GPU-hours, k", "efficiency, %");
  for (const ScalingPoint& point : forecast.scaling) {
    out += point.refused.empty() ? fmt::format("{:>10}{:>12.3f}{:>12.1f}{:>14.1f}{:>14.1f}\n", point.gpus, point.step_s,
                                               point.hours / 24, point.gpu_hours / 1e3, 100 * point.efficiency)
                                 : fmt::format("{:>10}  {}\n", point.gpus, point.refused);
  }
}

// Of a job with several phases, which of them runs how, and what of that nobody published.
void add_phases(const Forecast& forecast, std::string& out) {
  if (forecast.job.phases.size() == 1) return;
  out += fmt::format("\nPhases, one by one\n  {:<19}{:>10}{:>11}{:>5}{:>5}  {:<12}{:>8}{:>9}{:>9}{:>14}\n", "",
                     "tokens", "sequences", "CP", "DP", "schedule", "micro-b.", "steps", "step, s", "GPU-hours, k");
  for (const PhaseLine& line : phase_lines(forecast)) {
    out += fmt::format("  {:<19}{:>10}{:>11}{:>5}{:>5}  {:<12}{:>8}{:>9}{:>9}{:>14}  {}", line.name,
                       line.sequence_tokens, line.batch_sequences, line.context_parallel, line.data_parallel,
                       line.schedule, line.micro_batches, line.steps, line.step_s, line.gpu_hours_k, line.note);
    while (out.back() == ' ') out.pop_back();
    out += '\n';
  }
}

void add_replay(const Forecast& forecast, std::string& out) {
  if (!forecast.replay) return;
  const GroupReplay& replay = *forecast.replay;
  out += fmt::format(
      "\nReplayed: every rank of an expert-parallel group with its own tokens ({} micro-batch{} of {} recorded "
      "tokens)\n"
      "  step {:.3f} s, {:+.1f} % of the forecast above; busiest rank over the mean: {:.2f} on average, {:.2f} at "
      "worst\n",
      replay.windows, replay.windows == 1 ? "" : "es", thousands(static_cast<double>(replay.tokens)), replay.step_s,
      100 * (replay.step_s / replay.folded_step_s - 1), replay.mean_load_factor, replay.worst_load_factor);
  const auto busy = [&](const char* name, const std::vector<std::vector<double>>& seconds) {
    const LinkSpread spread = link_spread(seconds);
    out += fmt::format(
        "  {} with experts' traffic {:.1f} % of the step in the mean, {:.1f} % on GPU {} of pipeline rank {}\n", name,
        100 * spread.mean_s / replay.step_s, 100 * spread.most_s / replay.step_s, spread.gpu, spread.pipeline_rank);
  };
  busy("NICs are busy", replay.nic_s);
  busy("NVLinks are busy", replay.nvlink_s);
}

void add_memory(const Forecast& forecast, std::string& out) {
  const JobMemory& memory = forecast.main().memory;
  const RankMemory& peak = memory.peak();
  out += fmt::format("\nMemory of a GPU, pipeline rank {} (the fullest) at {:.2f} s of the step, GiB\n", memory.worst,
                     peak.timeline.peak_at.s);
  double rest = 0;
  for (const memory::Part& part : peak.parts) {
    if (part.bytes >= 0.01 * peak.peak_bytes) {
      out += fmt::format("  {:<42}{:>8.2f}\n", part.name, part.bytes / kGiB);
    } else {
      rest += part.bytes;
    }
  }
  out += fmt::format("  {:<42}{:>8.2f}\n", "other parts", rest / kGiB);
  out += fmt::format("  {:<42}{:>8.2f}  of {:.1f}{}\n", "with fragmentation and what the system keeps",
                     peak.needed_bytes / kGiB, memory.capacity_bytes / kGiB,
                     memory.fits() ? "" : ": DOES NOT FIT, forced");
}

void add_published_sources(const Forecast& forecast, std::string& out) {
  std::set<std::string> lines;
  for (const auto& [key, figure] : forecast.published) {
    lines.insert(fmt::format("  {}\n    {}\n", figure.source, figure.status));
  }
  if (lines.empty()) return;
  out += "\nWhere published figures come from\n";
  for (const std::string& line : lines) out += line;
}

void add_provenance(const Forecast& forecast, std::string& out) {
  const PhaseForecast& main = forecast.main();
  double total = 0;
  for (const double seconds : main.census.seconds) total += seconds;
  out += "\nWhere operator times come from (operators, share of their time)\n";
  for (std::size_t i = 0; i < cost::kNumProvenances; ++i) {
    out += fmt::format("  {:<14}{:>4}{:>8.1f} %\n", cost::kProvenanceNames[i], main.census.operators[i],
                       100 * main.census.seconds[i] / total);
  }
  if (main.profile.transfer_s > 0) {
    const ProfileCheck& here = main.profile;
    const ProfileCheck& there = forecast.profile;
    out += fmt::format(
        "  calibration, not a prediction: the profiled chunk takes {:.1f} ms here, {:.1f} ms in the profile; it "
        "computes\n"
        "  for {:.1f} ms ({:.1f}), dispatches and combines for {:.1f} ms ({:.1f}), {:.1f} % of them hidden ({:.1f} "
        "%)\n",
        here.span_s * 1e3, there.span_s * 1e3, here.compute_s * 1e3, there.compute_s * 1e3, here.transfer_s * 1e3,
        there.transfer_s * 1e3, 100 * here.hidden_s / here.transfer_s, 100 * there.hidden_s / there.transfer_s);
  }
  for (const std::string& source : forecast.calibration_sources) out += fmt::format("  from {}\n", source);
}

void add_assumptions(const Forecast& forecast, std::string& out) {
  out += "\nAssumptions (--set assume.NAME=VALUE)\n";
  for (const cost::Assumption& entry : forecast.job.assumptions.entries()) {
    out += fmt::format("  {:<22}{:>8g} {:<10} {}\n", entry.name, entry.value, entry.unit, entry.source);
  }
  out += fmt::format("  {}\n", kNetworkNote);
}

void add_confidence(const Forecast& forecast, std::string& out) {
  if (forecast.bound_step_s == 0) return;
  const double step_s = forecast.main().step_s;
  out += fmt::format(
      "\nWhat the step is made of: seconds that it loses without one cause (they overlap); bound {:.3f} s\n",
      forecast.bound_step_s);
  for (const Contribution& entry : forecast.contributions) {
    out += fmt::format("  {:<32}{:>9.3f} s{:>8.1f} %\n", entry.cause, entry.seconds, 100 * entry.seconds / step_s);
  }
  const Uncertainty& u = forecast.uncertainty;
  if (u.samples == 0) return;
  out += fmt::format("\nHow sure: {} draws from the ranges below: step P5 {:.2f} s, median {:.2f} s, P95 {:.2f} s\n",
                     u.samples, u.p5_s, u.p50_s, u.p95_s);
  if (step_s < u.p5_s || step_s > u.p95_s) {
    out += fmt::format(
        "  the forecast itself, {:.2f} s, lies {}: it takes values at ends of their ranges, the draws those between\n",
        step_s, step_s < u.p5_s ? "below P5" : "above P95");
  }
  for (const Uncertainty::Swing& swing : u.swings) {
    out += fmt::format("  {:<24}{:>9g} to {:<9g}{:>9.3f} to {:.3f} s\n", swing.name, swing.low, swing.high,
                       swing.step_at_low_s, swing.step_at_high_s);
  }
}

}  // namespace

std::string to_text(const Forecast& forecast) {
  std::string out;
  add_header(forecast, out);
  add_step(forecast, out);
  add_cost(forecast, to_json(forecast)["phases"], out);
  add_plan(forecast, out);
  add_phases(forecast, out);
  add_replay(forecast, out);
  add_memory(forecast, out);
  add_published_sources(forecast, out);
  add_provenance(forecast, out);
  add_confidence(forecast, out);
  add_assumptions(forecast, out);
  return out;
}

}  // namespace lastbit::sim::train

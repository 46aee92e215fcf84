#include "train/study.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/suggest.h"
#include "core/version.h"
#include "io/atomic_file.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "io/data_dir.h"
#include "io/preset_list.h"
#include "io/svg_chart.h"
#include "train/metrics_log.h"

namespace lastbit::train {
namespace {

using nlohmann::json;

const std::vector<std::string>& measures() {
  static const std::vector<std::string> kMeasures{"relative_difference", "validation_difference", "max_violation"};
  return kMeasures;
}

void require_variant(const Study& study, const std::string& name, const std::string& file, const std::string& key) {
  const bool there =
      std::ranges::any_of(study.variants, [&](const StudyVariant& variant) { return variant.name == name; });
  if (!there) core::fail_input("{}: key '{}': found '{}', expected the name of a variant", file, key, name);
}

// The losses of a run by step.
std::map<std::int64_t, double> losses_of(const std::vector<json>& lines) {
  std::map<std::int64_t, double> losses;
  for (const json& line : lines)
    if (line.contains("main_loss")) losses[line.at("step").get<std::int64_t>()] = line.at("main_loss").get<double>();
  return losses;
}

// The mean over the steps of the last third of `value`, which may leave a step out.
template <typename Value>
double last_third(std::int64_t steps, const Value& value) {
  double sum = 0;
  std::int64_t count = 0;
  for (std::int64_t step = steps - steps / 3; step <= steps; ++step)
    if (const std::optional<double> x = value(step)) {
      sum += *x;
      ++count;
    }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

json measure_variant(const std::vector<json>& lines, const std::vector<json>& reference) {
  const std::map<std::int64_t, double> losses = losses_of(lines);
  const std::map<std::int64_t, double> others = losses_of(reference);
  std::map<std::int64_t, double> violations;
  json validation;
  json other_validation;
  double seconds = 0;
  std::int64_t tokens = 0;
  for (const json& line : lines) {
    if (line.contains("max_violation"))
      violations[line.at("step").get<std::int64_t>()] = line.at("max_violation").get<double>();
    if (line.contains("validation")) validation = line.at("validation");
    if (line.contains("step_s")) seconds += line.at("step_s").get<double>();
    if (line.contains("tokens")) tokens = line.at("tokens").get<std::int64_t>();
  }
  for (const json& line : reference)
    if (line.contains("validation")) other_validation = line.at("validation");
  const std::int64_t steps = losses.empty() ? 0 : losses.rbegin()->first;
  const auto at = [](const std::map<std::int64_t, double>& values, std::int64_t step) {
    const auto found = values.find(step);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
  json result = {{"steps", steps},
                 {"tokens", tokens},
                 {"parameters", lines.front().value("parameters", std::int64_t{0})},
                 {"loss", last_third(steps, [&](std::int64_t step) { return at(losses, step); })},
                 {"relative_difference", last_third(steps,
                                                    [&](std::int64_t step) -> std::optional<double> {
                                                      const auto own = at(losses, step);
                                                      const auto other = at(others, step);
                                                      if (!own || !other) return std::nullopt;
                                                      return (*own - *other) / *other;
                                                    })},
                 {"max_violation", last_third(steps, [&](std::int64_t step) { return at(violations, step); })},
                 {"tokens_per_s", seconds > 0 ? static_cast<double>(tokens) / seconds : 0},
                 {"seconds", seconds}};
  if (validation.is_object() && other_validation.is_object()) {
    result["validation_loss"] = validation.at("loss");
    result["bits_per_byte"] = validation.at("bits_per_byte");
    const double other = other_validation.at("loss").get<double>();
    result["validation_difference"] = (validation.at("loss").get<double>() - other) / other;
  }
  return result;
}

// One result from those of all seeds: means, and how far the differences scatter.
json mean_result(const std::vector<json>& runs, const std::vector<std::uint64_t>& seeds) {
  json result = runs.front();
  if (runs.size() == 1) return result;
  const auto count = static_cast<double>(runs.size());
  const auto mean = [&](const std::string& key) {
    double sum = 0;
    for (const json& run : runs) sum += run.at(key).get<double>();
    return sum / count;
  };
  for (const auto& [key, value] : runs.front().items())
    if (value.is_number_float()) result[key] = mean(key);
  for (const char* key : {"relative_difference", "validation_difference"}) {
    if (!result.contains(key)) continue;
    double squares = 0;
    for (const json& run : runs) squares += std::pow(run.at(key).get<double>() - result.at(key).get<double>(), 2);
    result[std::string(key) + "_error"] = std::sqrt(squares / (count - 1) / count);
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    json one = {{"seed", seeds[i]}};
    for (const char* key : {"loss", "relative_difference", "validation_difference", "max_violation"})
      if (runs[i].contains(key)) one[key] = runs[i].at(key);
    result["by_seed"].push_back(std::move(one));
  }
  return result;
}

std::string today() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

json hold_claims(const Study& study, const json& results) {
  json held = json::array();
  for (const StudyClaim& claim : study.claims) {
    const double value = results.at(claim.variant).value(claim.measure, 0.0);
    // "Below 0.25 %" is said of the size of a difference, "below 0" of its sign.
    const double compared = claim.below > 0 ? std::abs(value) : value;
    held.push_back({{"variant", claim.variant},
                    {"measure", claim.measure},
                    {"bound", claim.below},
                    {"side", claim.above ? "above" : "below"},
                    {"source", claim.source},
                    {"value", value},
                    {"holds", claim.above ? compared > claim.below : compared < claim.below}});
  }
  return held;
}

// The lines of every variant's metrics, for one seed.
using SeedMetrics = std::map<std::string, std::vector<json>>;

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Means over the seeds.
std::string loss_chart(const Study& study, const std::vector<SeedMetrics>& metrics) {
  std::vector<io::ChartSeries> all;
  for (const StudyVariant& variant : study.variants) {
    std::map<std::int64_t, std::vector<double>> by_step;
    for (const SeedMetrics& of_seed : metrics)
      for (const auto& [step, loss] : losses_of(of_seed.at(variant.name))) by_step[step].push_back(loss);
    io::ChartSeries series{variant.name, {}};
    for (const auto& [step, losses] : by_step) series.points.emplace_back(static_cast<double>(step), mean_of(losses));
    all.push_back(std::move(series));
  }
  return io::line_chart_svg({study.title, "step", "training loss, nats a token", all});
}

// How far variants lie from the reference at the same step and seed: means over the seeds and over stretches of steps,
// as curves of the loss itself lie on each other.
std::string difference_chart(const Study& study, const std::vector<SeedMetrics>& metrics) {
  constexpr std::int64_t kStretches = 25;
  std::vector<io::ChartSeries> all;
  for (const StudyVariant& variant : study.variants) {
    if (variant.name == study.reference) continue;
    std::map<std::int64_t, std::vector<double>> stretches;  // by their last step
    for (const SeedMetrics& of_seed : metrics) {
      const std::map<std::int64_t, double> reference = losses_of(of_seed.at(study.reference));
      if (reference.empty()) continue;
      const std::int64_t length = std::max<std::int64_t>(1, reference.rbegin()->first / kStretches);
      for (const auto& [step, loss] : losses_of(of_seed.at(variant.name)))
        if (const auto other = reference.find(step); other != reference.end())
          stretches[(step + length - 1) / length * length].push_back(100 * (loss - other->second) / other->second);
    }
    io::ChartSeries series{variant.name, {}};
    for (const auto& [step, differences] : stretches)
      series.points.emplace_back(static_cast<double>(step), mean_of(differences));
    all.push_back(std::move(series));
  }
  return io::line_chart_svg({study.title, "step", "loss against " + study.reference + ", %", all});
}

// All variants with one seed; false when it was stopped.
bool run_variants(const Study& study, const StudyOptions& options, std::optional<std::uint64_t> seed, json& object,
                  SeedMetrics& metrics) {
  const std::string output = seed ? fmt::format("{}/seed-{}", options.output, *seed) : options.output;
  for (const StudyVariant& variant : study.variants) {
    std::vector<std::string> settings = settings_of_scale(options.scale);
    settings.insert(settings.end(), variant.settings.begin(), variant.settings.end());
    if (!variant.from.empty()) settings.push_back("init_from=" + output + "/" + variant.from + "/model");
    settings.insert(settings.end(), options.settings.begin(), options.settings.end());
    if (seed) settings.push_back(fmt::format("seed={}", *seed));
    const std::string folder = output + "/" + variant.name;
    const TrainConfig config = load_train_config(study.base, settings, folder);
    RunOptions run;
    run.resume = true;
    run.stop = options.stop;
    const std::string shown = seed ? fmt::format("seed {}, {}", *seed, variant.name) : variant.name;
    if (options.progress) run.progress = [&](const RunProgress& now) { options.progress(shown, now); };
    const RunResult result = train(config, run);
    if (result.end == RunEnd::kStopped) return false;
    if (!result.message.empty() || !object["diverged"].contains(variant.name))
      object["diverged"][variant.name] = result.message;
    object["variants"][variant.name] = variant.settings;
    object["seed"] = config.seed;
    metrics[variant.name] = read_metrics(folder + "/metrics.jsonl");
  }
  return true;
}

}  // namespace

std::vector<std::string> study_names() {
  std::vector<std::string> names;
  for (const io::PresetFile& preset : io::list_presets("studies")) names.push_back(preset.name);
  return names;
}

Study load_study(const std::string& name) {
  const std::vector<std::string> names = study_names();
  if (std::ranges::find(names, name) == names.end())
    core::fail_input("unknown study '{}'{}; there are: {}", name, core::suggestion(name, names),
                     fmt::join(names, ", "));
  const std::string file = io::data_path("studies/" + name + ".toml");
  const io::ConfigReader reader(io::load_config_file(file), file);
  Study study;
  study.name = name;
  study.title = reader.require<std::string>("title");
  study.question = reader.require<std::string>("question");
  study.base = reader.get_or<std::string>("base", "study");
  study.reference = reader.require<std::string>("reference");
  for (const io::ConfigReader& variant : reader.require_objects("variant")) {
    StudyVariant one{variant.require<std::string>("name"), variant.require<std::vector<std::string>>("settings"),
                     variant.get_or<std::string>("from", "")};
    if (!one.from.empty()) require_variant(study, one.from, file, "variant.from");
    study.variants.push_back(std::move(one));
    variant.finish();
  }
  require_variant(study, study.reference, file, "reference");
  if (reader.has("claim"))
    for (const io::ConfigReader& one : reader.require_objects("claim")) {
      StudyClaim claim;
      claim.variant = one.require<std::string>("variant");
      require_variant(study, claim.variant, file, "claim.variant");
      claim.measure = one.require_one_of("measure", measures());
      claim.above = one.has("above");
      claim.below = one.require<double>(claim.above ? "above" : "below");
      claim.source = one.require<std::string>("source");
      one.finish();
      study.claims.push_back(std::move(claim));
    }
  reader.finish();
  return study;
}

const std::vector<std::string>& study_scales() {
  static const std::vector<std::string> kScales{"micro", "tiny", "small"};
  return kScales;
}

std::vector<std::string> settings_of_scale(const std::string& scale) {
  if (scale == "micro") return {};
  if (scale == "tiny")
    return {
        "model=\"tiny\"",          "tokens=2500000",          "data.sequence_tokens=256",       "batch.sequences=16",
        "batch.micro_sequences=8", "learning_rate.peak=2e-3", "learning_rate.warm_up_steps=100"};
  if (scale == "small")
    return {"model=\"small\"",    "tokens=100000000",        "data.sequence_tokens=512",
            "batch.sequences=64", "batch.micro_sequences=8", "learning_rate.peak=1e-3"};
  core::fail_input("unknown scale '{}'; there are: {}", scale, fmt::join(study_scales(), ", "));
}

json run_study(const Study& study, const StudyOptions& options) {
  json object = {{"schema", 1},
                 {"study", study.name},
                 {"title", study.title},
                 {"question", study.question},
                 {"base", study.base},
                 {"reference", study.reference},
                 {"scale", options.scale},
                 {"settings", options.settings},
                 {"version", core::version()},
                 {"commit", options.commit},
                 {"date", today()}};
  if (std::set<std::uint64_t>(options.seeds.begin(), options.seeds.end()).size() != options.seeds.size())
    core::fail_input("seeds {}: expected each once", fmt::join(options.seeds, ","));
  std::filesystem::create_directories(options.output);
  std::vector<std::optional<std::uint64_t>> seeds(options.seeds.begin(), options.seeds.end());
  if (seeds.empty()) seeds.emplace_back();
  std::vector<SeedMetrics> metrics;
  for (const std::optional<std::uint64_t> seed : seeds) {
    metrics.emplace_back();
    if (!run_variants(study, options, seed, object, metrics.back())) return object;
  }
  for (const StudyVariant& variant : study.variants) {
    std::vector<json> runs;
    for (const SeedMetrics& of_seed : metrics)
      runs.push_back(measure_variant(of_seed.at(variant.name), of_seed.at(study.reference)));
    object["results"][variant.name] = mean_result(runs, options.seeds);
  }
  if (!options.seeds.empty()) object["seeds"] = options.seeds;
  json order = json::array();
  for (const StudyVariant& variant : study.variants) order.push_back(variant.name);
  object["order"] = order;
  object["claims"] = hold_claims(study, object["results"]);
  io::write_text_file(options.output + "/results.json", object.dump(1) + "\n");
  io::write_text_file(options.output + "/README.md", study_text(object));
  io::write_text_file(options.output + "/loss.svg", loss_chart(study, metrics));
  io::write_text_file(options.output + "/difference.svg", difference_chart(study, metrics));
  return object;
}

namespace {

// Of several seeds whose mean lies within two standard errors of the bound nothing can be said.
std::string verdict_of(const json& claim, const json& result) {
  const std::string error = claim.at("measure").get<std::string>() + "_error";
  const double bound = claim.at("bound").get<double>();
  const double value = claim.at("value").get<double>();
  const double distance = std::abs((bound > 0 ? std::abs(value) : value) - bound);
  if (result.contains(error) && distance < 2 * result.at(error).get<double>())
    return "these seeds cannot tell whether it holds";
  return claim.at("holds").get<bool>() ? "it holds" : "it does not hold";
}

std::string differences_by_seed(const json& results) {
  std::string out =
      "\nThese are also means over the seeds, ± the standard error of the mean. Differences seed by seed, in %:\n\n| "
      "seed |";
  for (const json& name : results.at("order")) out += fmt::format(" {} |", name.get<std::string>());
  out += "\n|---|";
  for (std::size_t i = 0; i < results.at("order").size(); ++i) out += "---|";
  for (std::size_t i = 0; i < results.at("seeds").size(); ++i) {
    out += fmt::format("\n| {} |", results.at("seeds").at(i).get<std::uint64_t>());
    for (const json& name : results.at("order")) {
      const json& one = results.at("results").at(name.get<std::string>()).at("by_seed").at(i);
      out += fmt::format(" {:+.3f} |", 100 * one.at("relative_difference").get<double>());
    }
  }
  return out + "\n";
}

}  // namespace

std::string study_text(const json& results) {
  const auto text = [&results](const char* key) { return results.at(key).get<std::string>(); };
  std::string out = fmt::format("# {}\n\n{}\n\n", text("title"), text("question"));
  out += "| variant | loss | against " + text("reference") +
         " | held-out bits a byte | MaxVio | tokens/s | seconds |\n|---|---|---|---|---|---|---|\n";
  for (const json& name : results.at("order")) {
    const json& row = results.at("results").at(name.get<std::string>());
    std::string difference = fmt::format("{:+.3f}", 100 * row.at("relative_difference").get<double>());
    if (row.contains("by_seed") && name != results.at("reference"))
      difference += fmt::format(" ± {:.3f}", 100 * row.at("relative_difference_error").get<double>());
    out += fmt::format("| {} | {:.4f} | {} % | {:.4f} | {:.2f} | {:.0f} | {:.0f} |\n", name.get<std::string>(),
                       row.at("loss").get<double>(), difference, row.value("bits_per_byte", 0.0),
                       row.at("max_violation").get<double>(), row.at("tokens_per_s").get<double>(),
                       row.at("seconds").get<double>());
  }
  const json& first = results.at("results").at(text("reference"));
  out += fmt::format(
      "\nLoss (nats a token), its difference and MaxVio (the most loaded layer's) are means over the last third of {} "
      "steps, {} tokens.\n",
      first.at("steps").get<std::int64_t>(), first.at("tokens").get<std::int64_t>());
  const std::vector<std::uint64_t> seeds = results.value("seeds", std::vector<std::uint64_t>{});
  if (seeds.size() > 1) out += differences_by_seed(results);
  for (const auto& [name, message] : results.at("diverged").items())
    if (!message.get<std::string>().empty())
      out += fmt::format("\n`{}` diverged: {}\n", name, message.get<std::string>());
  for (const json& claim : results.at("claims")) {
    const json& result = results.at("results").at(claim.at("variant").get<std::string>());
    const std::string error = claim.at("measure").get<std::string>() + "_error";
    const std::string scatter =
        result.contains(error) ? fmt::format(" ± {:.2g}", result.at(error).get<double>()) : std::string();
    out += fmt::format("\n- {}: {} of `{}` is {:.3g}{}, claimed {} {:.3g}: {} at this size.\n",
                       claim.at("source").get<std::string>(), claim.at("measure").get<std::string>(),
                       claim.at("variant").get<std::string>(), claim.at("value").get<double>(), scatter,
                       claim.at("side").get<std::string>(), claim.at("bound").get<double>(), verdict_of(claim, result));
  }
  const std::string commit = text("commit").empty() ? "" : " at " + text("commit");
  std::string again = text("study");
  if (text("scale") != "micro") again += " --scale " + text("scale");
  for (const json& setting : results.at("settings")) again += " --set " + setting.get<std::string>();
  if (!seeds.empty()) again += fmt::format(" --seeds {}", fmt::join(seeds, ","));
  out += fmt::format(
      "\n![loss](loss.svg)\n\n![difference](difference.svg)\n\nBase `{}`, {} size, seed{} {}, Lastbit {}{}, {}. Again: "
      "`lastbit study train {}`.\n",
      text("base"), text("scale"), seeds.size() > 1 ? "s" : "",
      seeds.empty() ? std::to_string(results.at("seed").get<std::uint64_t>())
                    : fmt::format("{}", fmt::join(seeds, ", ")),
      text("version"), commit, text("date"), again);
  return out;
}

}  // namespace lastbit::train

#include "train/train_config.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "core/error.h"
#include "core/suggest.h"
#include "io/checksum.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "io/config_settings.h"
#include "io/data_dir.h"
#include "io/preset_list.h"
#include "ops/numerics.h"

namespace lastbit::train {
namespace {

using io::ConfigReader;
using nlohmann::json;

constexpr std::int64_t kMostSteps = 10'000'000;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 50U;
constexpr std::int64_t kMostSequences = 1 << 20;
constexpr double kLargest = 1e30;

std::int64_t integer_or(const ConfigReader& reader, const std::string& key, std::int64_t otherwise, std::int64_t low,
                        std::int64_t high) {
  return reader.has(key) ? reader.require_in(key, low, high) : otherwise;
}
double real_or(const ConfigReader& reader, const std::string& key, double otherwise, double low, double high) {
  return reader.has(key) ? reader.require_in(key, low, high) : otherwise;
}

std::string resolved(const std::string& folder, const std::string& path) {
  return (std::filesystem::path(folder) / path).lexically_normal().string();
}

void read_data(const ConfigReader& reader, const std::string& folder, DataConfig& data) {
  for (const std::string& path : reader.get_or<std::vector<std::string>>("text", {})) {
    data.text.push_back(resolved(folder, path));
    if (!std::filesystem::is_regular_file(data.text.back()))
      core::fail_input("{}: data.text: no file '{}'", reader.file(), data.text.back());
  }
  data.text_field = reader.get_or<std::string>("text_field", data.text_field);
  if (reader.has("shards")) data.shards = resolved(folder, reader.require<std::string>("shards"));
  if (data.text.empty() == data.shards.empty())
    core::fail_input("{}: found {} data.text and data.shards, expected one of the two", reader.file(),
                     data.text.empty() ? "neither" : "both");
  data.tokenizer = reader.has("tokenizer") ? resolved(folder, reader.require<std::string>("tokenizer"))
                                           : io::data_path("tokenizer/lastbit-8k.json");
  data.sequence_tokens = integer_or(reader, "sequence_tokens", data.sequence_tokens, 2, 1 << 24);
  data.validation_share = real_or(reader, "validation_share", data.validation_share, 0, 0.5);
  data.validation_windows = integer_or(reader, "validation_windows", 0, 0, 1 << 24);
  reader.finish();
}

void read_batch(const ConfigReader& reader, BatchConfig& batch) {
  batch.ramp.last = integer_or(reader, "sequences", batch.ramp.last, 1, kMostSequences);
  batch.ramp.first = integer_or(reader, "first_sequences", batch.ramp.last, 1, batch.ramp.last);
  batch.ramp.ramp_tokens = real_or(reader, "ramp_tokens", 1, 1, static_cast<double>(kMostTokens));
  batch.micro_sequences =
      integer_or(reader, "micro_sequences", std::min(batch.micro_sequences, batch.ramp.first), 1, kMostSequences);
  if (batch.ramp.first % batch.micro_sequences != 0 || batch.ramp.last % batch.micro_sequences != 0)
    core::fail_input("{}: batch: {} to {} sequences a step, expected multiples of micro_sequences, {}", reader.file(),
                     batch.ramp.first, batch.ramp.last, batch.micro_sequences);
  batch.ramp.multiple = batch.micro_sequences;
  reader.finish();
}

void read_optimiser(const ConfigReader& reader, OptimiserConfig& optimiser) {
  AdamWRule& rule = optimiser.adamw;
  constexpr double kBelowOne = 1 - 1e-12;
  rule.beta1 = real_or(reader, "beta1", rule.beta1, 0, kBelowOne);
  rule.beta2 = real_or(reader, "beta2", rule.beta2, 0, kBelowOne);
  rule.epsilon = real_or(reader, "epsilon", rule.epsilon, 1e-30, 0.5);
  rule.weight_decay = real_or(reader, "weight_decay", rule.weight_decay, 0, 100);
  if (reader.has("moment_use"))
    rule.moment_use =
        find_moment_use(reader.require_one_of("moment_use", {"update_from_rounded", "update_from_unrounded"}));
  if (reader.has("moments")) optimiser.bf16_moments = reader.require_one_of("moments", {"bf16", "fp32"}) == "bf16";
  optimiser.clip_norm = real_or(reader, "clip_norm", optimiser.clip_norm, 1e-30, kLargest);
  optimiser.decay_embeddings = reader.get_or("decay_embeddings", optimiser.decay_embeddings);
  reader.finish();
}

void read_balance(const ConfigReader& reader, BalanceConfig& balance) {
  balance.bias_rate = real_or(reader, "bias_rate", balance.bias_rate, 0, 1e6);
  balance.bias_until = real_or(reader, "bias_until", balance.bias_until, 0, 1);
  balance.bias_tolerance = real_or(reader, "bias_tolerance", balance.bias_tolerance, 0, 1e6);
  balance.auxiliary_losses = reader.get_or("auxiliary_losses", balance.auxiliary_losses);
  reader.finish();
}

void read_mtp(const ConfigReader& reader, MtpConfig& mtp) {
  if (reader.has("variant")) mtp.variant = model::find_mtp_variant(reader.require_one_of("variant", {"paper", "hf"}));
  mtp.weight = real_or(reader, "weight", mtp.weight, 0, 1e6);
  mtp.late_weight = real_or(reader, "late_weight", mtp.late_weight, 0, 1e6);
  mtp.late_from = real_or(reader, "late_from", mtp.late_from, 0, 1);
  reader.finish();
}

void read_record(const ConfigReader& reader, RecordConfig& record) {
  record.evaluate_every = integer_or(reader, "evaluate_every", record.evaluate_every, 0, kMostSteps);
  record.checkpoint_every = integer_or(reader, "checkpoint_every", record.checkpoint_every, 0, kMostSteps);
  record.checkpoints_kept = integer_or(reader, "checkpoints_kept", record.checkpoints_kept, 1, 1000);
  record.metrics_every = integer_or(reader, "metrics_every", record.metrics_every, 1, kMostSteps);
  record.shadow_every = integer_or(reader, "shadow_every", record.shadow_every, 0, kMostSteps);
  record.routing_trace_every = integer_or(reader, "routing_trace_every", record.routing_trace_every, 0, kMostSteps);
  record.routing_trace_choices = reader.get_or("routing_trace_choices", record.routing_trace_choices);
  record.keep_best = reader.get_or("keep_best", record.keep_best);
  reader.finish();
}

V3Schedule read_v3(const ConfigReader& reader, const TrainConfig& config) {
  V3Schedule schedule;
  const double floor_share = schedule.floor / schedule.peak;
  const double last_share = schedule.last / schedule.peak;
  const std::int64_t warm_up =
      integer_or(reader, "warm_up_steps", std::min<std::int64_t>(2000, config.total_steps / 20), 0, kMostSteps);
  schedule.peak = real_or(reader, "peak", schedule.peak, 0, kLargest);
  schedule.floor = real_or(reader, "floor", schedule.peak * floor_share, 0, kLargest);
  schedule.last = real_or(reader, "last", schedule.peak * last_share, 0, kLargest);
  const auto stretch = [&](const char* key, double& tokens) {
    tokens = real_or(reader, key, tokens, 0, static_cast<double>(kMostTokens));
  };
  stretch("constant_tokens", schedule.constant_tokens);
  stretch("cosine_tokens", schedule.cosine_tokens);
  stretch("floor_tokens", schedule.floor_tokens);
  stretch("last_tokens", schedule.last_tokens);
  if (reader.get_or("scale_to_run", true)) return scaled(schedule, static_cast<double>(config.total_tokens), warm_up);
  schedule.warm_up_steps = warm_up;
  return schedule;
}

LearningRateSchedule read_learning_rate(const ConfigReader& reader, const TrainConfig& config) {
  const std::string kind =
      reader.has("schedule") ? reader.require_one_of("schedule", {"v3", "step-decay", "cosine", "constant"}) : "v3";
  LearningRateSchedule result;
  if (kind == "v3") {
    result = read_v3(reader, config);
  } else {
    const std::int64_t warm_up = integer_or(reader, "warm_up_steps", 0, 0, kMostSteps);
    const double peak = real_or(reader, "peak", 1e-3, 0, kLargest);
    if (kind == "step-decay") {
      StepDecaySchedule schedule{warm_up, config.total_steps, peak};
      schedule.factor = real_or(reader, "factor", schedule.factor, 0, 1);
      schedule.first_decay = real_or(reader, "first_decay", schedule.first_decay, 0, 1);
      schedule.second_decay = real_or(reader, "second_decay", schedule.second_decay, 0, 1);
      result = schedule;
    } else if (kind == "cosine") {
      result = CosineSchedule{warm_up, config.total_steps, peak, real_or(reader, "floor", peak / 10, 0, kLargest)};
    } else {
      result = ConstantSchedule{warm_up, peak};
    }
  }
  reader.finish();
  static_cast<void>(learning_rate(result, 0, 0));  // what does not fit together is refused now
  return result;
}

// Steps and tokens of the whole run: the ramp played once.
void measure_run(const ConfigReader& reader, TrainConfig& config) {
  if ((config.steps > 0) == (config.tokens > 0))
    core::fail_input("{}: found {} 'steps' and 'tokens', expected one of the two", reader.file(),
                     config.steps > 0 ? "both" : "neither");
  std::int64_t tokens = 0;
  std::int64_t steps = 0;
  while (config.steps > 0 ? steps < config.steps : tokens < config.tokens) {
    tokens += batch_size(config.batch.ramp, static_cast<double>(tokens)) * config.data.sequence_tokens;
    if (++steps > kMostSteps) core::fail_input("{}: more than {} steps", reader.file(), kMostSteps);
  }
  config.total_steps = steps;
  config.total_tokens = tokens;
}

model::Recompute read_recompute(const ConfigReader& reader) {
  model::Recompute recompute;
  for (const std::string& part : reader.get_or<std::vector<std::string>>("recompute", {})) {
    if (part == "norms") {
      recompute.norms = true;
    } else if (part == "up_projections") {
      recompute.up_projections = true;
    } else if (part == "swiglu") {
      recompute.swiglu = true;
    } else {
      reader.fail("recompute", "an array of norms, up_projections, swiglu");
    }
  }
  return recompute;
}

// A section that may be missing: an empty object then.
ConfigReader section(const ConfigReader& reader, const std::string& key) {
  if (std::optional<ConfigReader> part = reader.optional_object(key)) return *std::move(part);
  return {json::object(), reader.file(), key + "."};
}

std::string train_config_path(const std::string& name_or_path) {
  const std::filesystem::path path(name_or_path);
  if (path.extension() == ".toml" || path.extension() == ".json" || path.has_parent_path()) return name_or_path;
  const std::vector<std::string> names = train_presets();
  if (std::ranges::find(names, name_or_path) == names.end()) {
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
    core::fail_input("unknown training preset '{}'{}; there are: {}", name_or_path,
                     core::suggestion(name_or_path, names), all);
  }
  return io::data_path("train/" + name_or_path + ".toml");
}

}  // namespace

std::vector<std::string> train_presets() {
  std::vector<std::string> names;
  for (const io::PresetFile& preset : io::list_presets("train")) names.push_back(preset.name);
  return names;
}

TrainConfig parse_train_config(const json& object, const std::string& file, const std::string& folder) {
  const ConfigReader reader(object, file);
  TrainConfig config;
  config.written = object;
  config.name = std::filesystem::path(file).stem().string();
  config.model = reader.require<std::string>("model");
  if (const auto keys = reader.optional_object("model_config")) config.model_config = reader.raw("model_config");
  const auto path_or_empty = [&](const char* key) {
    return reader.has(key) ? resolved(folder, reader.require<std::string>(key)) : std::string();
  };
  config.init_from = path_or_empty("init_from");
  config.output = path_or_empty("output");
  config.numerics = reader.get_or<std::string>("numerics", config.numerics);
  config.seed = static_cast<std::uint64_t>(integer_or(reader, "seed", 1, 0, std::numeric_limits<std::int64_t>::max()));
  config.steps = integer_or(reader, "steps", 0, 0, kMostSteps);
  config.tokens = integer_or(reader, "tokens", 0, 0, kMostTokens);
  config.ema_decay = real_or(reader, "ema_decay", 0, 0, 1 - 1e-9);
  config.recompute = read_recompute(reader);
  read_data(section(reader, "data"), folder, config.data);
  read_batch(section(reader, "batch"), config.batch);
  measure_run(reader, config);
  read_optimiser(section(reader, "optimiser"), config.optimiser);
  config.learning_rate = read_learning_rate(section(reader, "learning_rate"), config);
  read_balance(section(reader, "balance"), config.balance);
  read_mtp(section(reader, "mtp"), config.mtp);
  read_record(section(reader, "record"), config.record);
  reader.finish();
  return config;
}

TrainConfig load_train_config(const std::string& name_or_path, const std::vector<std::string>& settings,
                              const std::string& output) {
  const std::string path = train_config_path(name_or_path);
  json object = io::load_config_file(path);
  io::apply_settings(object, settings);
  if (!output.empty()) object["output"] = std::filesystem::absolute(output).lexically_normal().string();
  TrainConfig config = parse_train_config(object, path, std::filesystem::path(path).parent_path().string());
  if (config.output.empty()) core::fail_input("{}: no 'output', expected one there or --out FOLDER", path);
  return config;
}

json recipe(const TrainConfig& config) {
  json object = config.written;
  for (const char* key : {"output", "record"}) object.erase(key);
  json files = json::array();
  for (const std::string& path : config.data.text) files.push_back(io::crc32_of_file(path));
  if (!config.data.shards.empty()) files.push_back(io::crc32_of_file(config.data.shards + "/index.json"));
  files.push_back(io::crc32_of_file(config.data.tokenizer));
  object["data_crc32"] = files;
  for (const char* key : {"text", "shards", "tokenizer"}) object["data"].erase(key);
  return object;
}

}  // namespace lastbit::train

// What `lastbit train` is told. docs/training.md lists the keys.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/mtp.h"
#include "model/pass_context.h"
#include "train/adamw.h"
#include "train/learning_rate.h"

namespace lastbit::train {

struct DataConfig {
  std::vector<std::string> text;  // .jsonl, .ndjson: a document a line; any other file is a document
  std::string text_field = "text";
  std::string shards;  // or a folder that `lastbit data prepare` made
  std::string tokenizer;
  std::int64_t sequence_tokens = 256;
  double validation_share = 0.05;       // of the documents of `text`
  std::int64_t validation_windows = 0;  // of `shards`: the last ones
};

struct BatchConfig {
  BatchRamp ramp{8, 8, 1, 1};  // sequences a step
  std::int64_t micro_sequences = 4;
};

struct OptimiserConfig {
  AdamWRule adamw;
  double clip_norm = 1;
  bool bf16_moments = true;
  bool decay_embeddings = true;
};

// Shares are of the run's tokens.
struct BalanceConfig {
  double bias_rate = 0.001;         // gamma; 0: the bias stays
  double bias_until = 14.3 / 14.8;  // then 0 (arXiv 2412.19437, section 4.2)
  double bias_tolerance = 0;
  bool auxiliary_losses = true;  // those of the model's config
};

struct MtpConfig {
  model::MtpVariant variant = model::MtpVariant::kPaper;
  double weight = 0.3;
  double late_weight = 0.1;
  double late_from = 10.0 / 14.8;
};

struct RecordConfig {
  std::int64_t evaluate_every = 100;    // steps; 0: never
  std::int64_t checkpoint_every = 100;  // 0: at the end alone
  std::int64_t checkpoints_kept = 2;
  std::int64_t metrics_every = 1;
  std::int64_t shadow_every = 0;         // what FP8 loses, product by product
  std::int64_t routing_trace_every = 0;  // for the forecast
  bool routing_trace_choices = false;    // every token's experts, not counts alone
  bool keep_best = false;                // the weights of the lowest validation loss, too
};

struct TrainConfig {
  std::string name;  // of the preset or file
  std::string model = "tiny";
  nlohmann::json model_config = nlohmann::json::object();  // keys in place of the model's own
  std::string init_from;                                   // a Hugging Face directory to start from, or ""
  std::string output;
  std::string numerics = "bf16";
  std::uint64_t seed = 1;
  std::int64_t steps = 0;   // one of the two is above 0
  std::int64_t tokens = 0;  // the run ends with the step that reaches them
  DataConfig data;
  BatchConfig batch;
  OptimiserConfig optimiser;
  LearningRateSchedule learning_rate;
  BalanceConfig balance;
  MtpConfig mtp;
  double ema_decay = 0;  // 0: none
  RecordConfig record;
  model::Recompute recompute;

  // From the two above, the batch's ramp and the sequences' length.
  std::int64_t total_steps = 0;
  std::int64_t total_tokens = 0;
  nlohmann::json written;  // the object that was read, settings applied
};

// A preset of data/train, or a .toml or .json file; `settings` are changes, "learning_rate.peak=1e-3". Paths are
// relative to the file's folder. `output` is taken before the config's own where it is not empty.
// Errors (bad input): unknown keys with a suggestion, values out of range, files that are not there.
[[nodiscard]] TrainConfig load_train_config(const std::string& name_or_path, const std::vector<std::string>& settings,
                                            const std::string& output = {});
// The same from an object; `file` stands for it in messages, `folder` is what paths are relative to.
[[nodiscard]] TrainConfig parse_train_config(const nlohmann::json& object, const std::string& file,
                                             const std::string& folder);

// Names of data/train's presets, sorted.
[[nodiscard]] std::vector<std::string> train_presets();

// Everything that decides the bits of a run: two runs that agree in it agree in every checkpoint. Not where it writes,
// and how often it looks.
[[nodiscard]] nlohmann::json recipe(const TrainConfig& config);

}  // namespace lastbit::train

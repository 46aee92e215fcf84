// lastbit eval: how good a checkpoint is.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/eval_model.h"
#include "core/error.h"
#include "corpus/tokenize_files.h"
#include "eval/text_score.h"
#include "train/token_windows.h"

namespace lastbit::cli {
namespace {

struct EvalText {
  EvalModel model;
  std::string config;
  std::vector<std::string> files;
  std::int64_t sequence_tokens = 256;
  std::int64_t batch = 8;
  std::int64_t order = 5;
  bool as_json = false;
};

// The rows to score, and those that an n-gram model may learn from.
struct EvalRows {
  tensor::Tensor scored;
  tensor::Tensor learned;  // empty without a training config
  std::vector<std::int64_t> token_bytes;
  std::string tokenizer;
};

EvalRows rows_of(const EvalText& options, const std::optional<train::TrainConfig>& config, const LoadedModel& loaded) {
  EvalRows result;
  train::DataConfig data;
  std::uint64_t seed = 1;
  if (config) {
    data = config->data;
    seed = config->seed;
  } else {
    data.text = options.files;
    for (const std::string& file : options.files)
      if (!std::filesystem::is_regular_file(file)) core::fail_input("{}: no such file", file);
    data.tokenizer = loaded.tokenizer_path;
    data.sequence_tokens = options.sequence_tokens;
    data.validation_share = 0;
  }
  train::TokenWindows windows(data, loaded.model.config().vocab_size, seed);
  const tensor::Tensor all = windows.read(0, windows.rows()).ids;
  result.scored = config ? windows.validation().ids : all;
  if (config) result.learned = all;
  if (result.scored.size() == 0) core::fail_input("{}: holds nothing out, expected validation rows", options.config);
  result.token_bytes = windows.token_bytes();
  result.tokenizer = data.tokenizer;
  return result;
}

// The text of all rows but each one's first token, special tokens left out.
std::string text_of(const EvalRows& rows) {
  const text::Tokenizer tokenizer = corpus::load_tokenizer(rows.tokenizer);
  std::string text;
  const auto ids = rows.scored.values<std::int64_t>();
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (i % static_cast<std::size_t>(rows.scored.dim(1)) != 0 && rows.token_bytes[static_cast<std::size_t>(ids[i])] > 0)
      text += tokenizer.bytes_of(static_cast<text::TokenId>(ids[i]));
  return text;
}

int run_eval_text(EvalText options) {
  if (options.config.empty() == options.files.empty())
    core::fail_input("eval text: found {} --config and --in, expected one of the two",
                     options.config.empty() ? "neither" : "both");
  std::optional<train::TrainConfig> config;
  if (!options.config.empty()) config = train::load_train_config(options.config, {}, "unused");
  if (config && options.model.tokenizer.empty()) options.model.tokenizer = config->data.tokenizer;
  const LoadedModel loaded = load_for_eval(options.model);
  const EvalRows rows = rows_of(options, config, loaded);
  const eval::TextScore score = eval::score_rows(loaded.model, rows.scored, rows.token_bytes, options.batch);
  const double gzip = eval::gzip_bits_per_byte(text_of(rows));
  nlohmann::json object{{"schema", 1},
                        {"checkpoint", loaded.checkpoint},
                        {"numerics", options.model.numerics},
                        {"targets", score.targets},
                        {"bytes", score.bytes},
                        {"loss", score.loss()},
                        {"perplexity", score.perplexity()},
                        {"bits_per_byte", score.bits_per_byte()},
                        {"gzip_9_bits_per_byte", gzip}};
  if (rows.learned.size() > 0) {
    eval::NgramModel ngram(options.order, loaded.model.config().vocab_size);
    const auto width = static_cast<std::size_t>(rows.learned.dim(1));
    for (std::size_t row = 0; row < static_cast<std::size_t>(rows.learned.dim(0)); ++row)
      ngram.add(rows.learned.values<std::int64_t>().subspan(row * width, width));
    const eval::TextScore baseline = eval::score_rows(ngram, rows.scored, rows.token_bytes);
    object["ngram"] = {{"order", options.order},
                       {"contexts", ngram.contexts()},
                       {"loss", baseline.loss()},
                       {"bits_per_byte", baseline.bits_per_byte()}};
  }
  if (options.as_json) {
    std::cout << object.dump() << '\n';
    return core::kExitOk;
  }
  std::cout << fmt::format("{} tokens, {} bytes\n{:<26}{:>12}{:>14}\n", score.targets, score.bytes, "", "bits a byte",
                           "nats a token");
  std::cout << fmt::format("{:<26}{:>12.4f}\n", "gzip -9 of this text", gzip);
  if (object.contains("ngram"))
    std::cout << fmt::format("{:<26}{:>12.4f}{:>14.4f}\n", fmt::format("{}-gram, Kneser-Ney", options.order),
                             object["ngram"]["bits_per_byte"].get<double>(), object["ngram"]["loss"].get<double>());
  std::cout << fmt::format("{:<26}{:>12.4f}{:>14.4f}  perplexity {:.2f}\n", "the checkpoint", score.bits_per_byte(),
                           score.loss(), score.perplexity());
  return core::kExitOk;
}

void add_eval_text(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand(
      "text", "Bits per byte and perplexity of a text, beside gzip -9 and an n-gram model of the training text");
  const auto options = std::make_shared<EvalText>();
  add_eval_model(*command, options->model);
  command->add_option("--config", options->config,
                      "Score what this training config (preset or file) holds out; the n-gram model learns the rest");
  command->add_option("--in", options->files, "Or score these files: .jsonl, or plain text");
  command->add_option("--sequence-tokens", options->sequence_tokens, "Of --in: tokens a row")
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--batch", options->batch, "Rows at a time")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 16))
      ->capture_default_str();
  command->add_option("--order", options->order, "Of the n-gram model")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{8}))
      ->capture_default_str();
  command->add_flag("--json", options->as_json, "Print one JSON object");
  command->callback([&action, options] { action = [options] { return run_eval_text(*options); }; });
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("eval", "How good a checkpoint is");
  command->require_subcommand(1);
  add_eval_text(*command, action);
  add_eval_tasks(*command, action);
}

}  // namespace lastbit::cli

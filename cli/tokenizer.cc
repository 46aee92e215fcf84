// lastbit tokenizer: ids from text and text from ids, new vocabularies, and what a vocabulary makes of a text.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/progress.h"
#include "core/error.h"
#include "corpus/tokenize_files.h"
#include "io/atomic_file.h"
#include "io/data_dir.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer_file.h"

namespace lastbit::cli {
namespace {

constexpr const char* kTokenizerHelp = "tokenizer.json (default: Lastbit's own vocabulary of 8,192)";
constexpr const char* kDocumentsHelp = "Documents: .jsonl with a field \"text\", or a file of plain text";

struct TokenizerOptions {
  std::string tokenizer;
  std::vector<std::string> in;
  std::string out;
  std::string invalid = "bytes";
  bool skip_special = false;
  bool json = false;
};

text::Tokenizer tokenizer_of(const TokenizerOptions& options) {
  return corpus::load_tokenizer(options.tokenizer.empty() ? io::data_path("tokenizer/lastbit-8k.json")
                                                          : options.tokenizer);
}

corpus::InvalidBytes invalid_of(const TokenizerOptions& options) {
  return options.invalid == "replace" ? corpus::InvalidBytes::kReplace : corpus::InvalidBytes::kKeep;
}

void add_invalid(CLI::App* command, TokenizerOptions& options) {
  command
      ->add_option("--invalid", options.invalid,
                   "Bytes that are not UTF-8: bytes (kept, one token or more each) or replace (U+FFFD first)")
      ->check(CLI::IsMember({"bytes", "replace"}))
      ->capture_default_str();
}

void add_encode(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("encode", "Texts to ids; added tokens are recognised, no BOS is added");
  const auto options = std::make_shared<TokenizerOptions>();
  options->in.resize(1);
  command->add_option("--tokenizer", options->tokenizer, kTokenizerHelp);
  command->add_option("--in", options->in[0], kDocumentsHelp)->required();
  command->add_option("--out", options->out, "Lines of {\"ids\": [...]} and the other fields of the input")->required();
  add_invalid(command, *options);
  command->callback([options, &action] {
    action = [options] {
      corpus::encode_file(tokenizer_of(*options), options->in[0], options->out, invalid_of(*options));
      return core::kExitOk;
    };
  });
}

void add_decode(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("decode", "Ids to texts");
  const auto options = std::make_shared<TokenizerOptions>();
  options->in.resize(1);
  command->add_option("--tokenizer", options->tokenizer, kTokenizerHelp);
  command->add_option("--in", options->in[0], "Lines of {\"ids\": [...]}")->required();
  command->add_option("--out", options->out, "Lines of {\"text\": ...} and the other fields of the input")->required();
  command->add_flag("--skip-special", options->skip_special, "Leave special tokens out");
  add_invalid(command, *options);
  command->callback([options, &action] {
    action = [options] {
      corpus::decode_file(tokenizer_of(*options), options->in[0], options->out, invalid_of(*options),
                          options->skip_special);
      return core::kExitOk;
    };
  });
}

double share(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

int run_stats(const TokenizerOptions& options) {
  const text::Tokenizer tokenizer = tokenizer_of(options);
  const text::TokenizerDescription& description = tokenizer.description();
  nlohmann::ordered_json result{{"tokens", tokenizer.token_count()},
                                {"id_limit", tokenizer.id_limit()},
                                {"merges", description.merges.size()},
                                {"added_tokens", description.added.size()}};
  if (!options.in.empty()) {
    const corpus::TokenStatistics found = corpus::token_statistics(tokenizer, options.in);
    result["documents"] = found.documents;
    result["bytes"] = found.bytes;
    result["code_points"] = found.code_points;
    result["text_tokens"] = found.tokens;
    result["bytes_per_token"] = share(found.bytes, found.tokens);
    result["code_points_per_token"] = share(found.code_points, found.tokens);
    result["different_tokens"] = found.different_tokens;
  }
  if (options.json) {
    std::cout << result.dump(1) << '\n';
    return core::kExitOk;
  }
  for (const auto& [key, value] : result.items())
    std::cout << fmt::format("{:<22}{}\n", key,
                             value.is_number_float() ? fmt::format("{:.4f}", value.get<double>()) : value.dump());
  return core::kExitOk;
}

void add_stats(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("stats", "A vocabulary, and how many bytes a token of it holds");
  const auto options = std::make_shared<TokenizerOptions>();
  command->add_option("--tokenizer", options->tokenizer, kTokenizerHelp);
  command->add_option("--in", options->in, kDocumentsHelp);
  command->add_flag("--json", options->json, "JSON instead of a table");
  command->callback([options, &action] { action = [options] { return run_stats(*options); }; });
}

struct VocabularyOptions {
  std::vector<std::string> in;
  std::string out;
  std::string preset;
  std::int64_t vocab_size = 0;
  std::int64_t min_frequency = 2;
  std::vector<std::string> special;
};

// What DeepSeek-V3's files call them.
std::vector<std::string> default_special_tokens() {
  return {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<｜fim▁begin｜>",
          "<｜fim▁hole｜>",          "<｜fim▁end｜>",         "<｜User｜>",  "<｜Assistant｜>"};
}

std::int64_t vocab_size_of(const VocabularyOptions& options) {
  if (options.preset.empty() == (options.vocab_size == 0))
    core::fail_input("tokenizer train wants either --vocab-size or --preset");
  if (options.vocab_size != 0) return options.vocab_size;
  if (options.preset == "8k") return 8192;
  return options.preset == "100k" ? 100'000 : 128'000;
}

int run_train_vocabulary(const VocabularyOptions& options) {
  text::BpeTraining training;
  training.vocab_size = static_cast<std::size_t>(vocab_size_of(options));
  training.min_frequency = static_cast<std::uint64_t>(options.min_frequency);
  training.special_tokens = options.special.empty() ? default_special_tokens() : options.special;
  const text::PreTokenizer pre_tokenizer = text::PreTokenizer::deepseek_v3();
  Progress counting("counting", "MB");
  const text::WordCounts words =
      corpus::count_words_in_files(options.in, pre_tokenizer, [&](std::uint64_t done, std::uint64_t all) {
        counting.show(static_cast<double>(done) * 1e-6, static_cast<double>(all) * 1e-6);
      });
  counting.finish();
  Progress merging("merging", "merges");
  const double wanted = static_cast<double>(training.vocab_size - training.special_tokens.size() - 256);
  const text::TokenizerDescription description = text::train_bpe(
      words, training, pre_tokenizer, [&](std::size_t done) { merging.show(static_cast<double>(done), wanted); });
  merging.finish();
  io::write_text_file(options.out, text::tokenizer_json(description));
  std::cout << fmt::format("{}: {} tokens, {} merges from {} different pieces\n", options.out, description.vocab.size(),
                           description.merges.size(), words.size());
  return core::kExitOk;
}

void add_train_vocabulary(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("train", "A byte-level BPE vocabulary with DeepSeek-V3's splits");
  const auto options = std::make_shared<VocabularyOptions>();
  command->add_option("--in", options->in, kDocumentsHelp)->required();
  command->add_option("--out", options->out, "tokenizer.json")->required();
  command->add_option("--vocab-size", options->vocab_size, "Tokens, special ones and the 256 bytes included")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{text::kMostTokens}));
  command->add_option("--preset", options->preset, "8k (8,192), 100k or 128k instead of --vocab-size")
      ->check(CLI::IsMember({"8k", "100k", "128k"}));
  command->add_option("--min-frequency", options->min_frequency, "Pairs that occur less often are not merged")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_option("--special", options->special,
                      "Special tokens, ids from 0 (default: DeepSeek-V3's for the ends of a text, padding, fill in "
                      "the middle and turns of a dialogue)");
  command->callback([options, &action] { action = [options] { return run_train_vocabulary(*options); }; });
}

}  // namespace

void add_tokenizer(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("tokenizer", "Byte-level BPE: encode, decode, train, stats");
  command->require_subcommand(1);
  add_encode(*command, action);
  add_decode(*command, action);
  add_train_vocabulary(*command, action);
  add_stats(*command, action);
}

}  // namespace lastbit::cli

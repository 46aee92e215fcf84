// lastbit generate: text from a checkpoint.
#include "infer/generate.h"

#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "core/error.h"
#include "corpus/tokenize_files.h"
#include "io/data_dir.h"
#include "model/numerics_file.h"
#include "text/stream_decoder.h"

namespace lastbit::cli {
namespace {

struct GenerateCommand {
  std::string checkpoint;
  std::string prompt;
  std::string tokenizer;
  std::string numerics = "fp32";
  infer::GenerateOptions generate;
  bool as_json = false;
};

std::string checkpoint_path(const std::string& name) {
  if (!name.empty()) return name;
  return io::data_path("checkpoints/tiny");
}

// The checkpoint's own, else the embedded vocabulary of 8,192.
std::string tokenizer_path(const GenerateCommand& command, const std::string& checkpoint) {
  if (!command.tokenizer.empty()) return command.tokenizer;
  const std::string own = checkpoint + "/tokenizer.json";
  return std::filesystem::exists(own) ? own : io::data_path("tokenizer/lastbit-8k.json");
}

int run_generate(GenerateCommand command) {
  const std::string checkpoint = checkpoint_path(command.checkpoint);
  const model::Transformer model = model::Transformer::load(checkpoint, model::find_numerics(command.numerics));
  if (ops::value_dtype(model.numerics()) != tensor::DType::kF32)
    core::fail_unsupported("numerics '{}': generate runs in FP32 and below", command.numerics);
  const std::string path = tokenizer_path(command, checkpoint);
  const text::Tokenizer tokenizer = corpus::load_tokenizer(path);
  if (static_cast<std::int64_t>(tokenizer.id_limit()) > model.config().vocab_size)
    core::fail_input("{}: {} tokens, expected at most the model's vocab_size, {}", path, tokenizer.id_limit(),
                     model.config().vocab_size);
  std::vector<std::int64_t> prompt;
  for (const text::TokenId id : tokenizer.encode(command.prompt)) prompt.push_back(id);
  const auto end = tokenizer.find("<｜end▁of▁sentence｜>");
  command.generate.end_token = end ? static_cast<std::int64_t>(*end) : -1;
  text::StreamDecoder decoder(tokenizer);
  std::string text;
  command.generate.on_token = [&](std::int64_t token) {
    const std::string piece = decoder.push(static_cast<text::TokenId>(token));
    text += piece;
    if (!command.as_json) std::cout << piece << std::flush;
  };
  if (!command.as_json) std::cout << command.prompt << std::flush;
  const std::vector<std::int64_t> tokens = infer::generate(model, prompt, command.generate);
  text += decoder.finish();
  if (!command.as_json) {
    std::cout << decoder.finish() << '\n';
    return core::kExitOk;
  }
  const nlohmann::json object{{"schema", 1},
                              {"checkpoint", checkpoint},
                              {"seed", command.generate.seed},
                              {"prompt", command.prompt},
                              {"tokens", tokens},
                              {"text", text}};
  std::cout << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  return core::kExitOk;
}

}  // namespace

void add_generate(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("generate", "Continue a text with a checkpoint");
  const auto options = std::make_shared<GenerateCommand>();
  command->add_option("--checkpoint", options->checkpoint,
                      "Hugging Face directory (default: the embedded checkpoint, data/checkpoints/tiny)");
  command->add_option("--prompt", options->prompt, "What is continued")->required();
  command->add_option("--tokenizer", options->tokenizer, "tokenizer.json (default: the checkpoint's)");
  command->add_option("--numerics", options->numerics, "Arithmetic: a policy of `lastbit presets`, or FILE.toml")
      ->capture_default_str();
  command->add_option("--max-tokens", options->generate.max_tokens, "At most so many")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24))
      ->capture_default_str();
  infer::SamplingRule& sampling = options->generate.sampling;
  command->add_option("--temperature", sampling.temperature, "0: the likeliest token always")->capture_default_str();
  command->add_option("--top-k", sampling.top_k, "Among so many likeliest tokens; 0: all")->capture_default_str();
  command->add_option("--top-p", sampling.top_p, "Among the likeliest tokens of this total probability")
      ->capture_default_str();
  command->add_option("--seed", options->generate.seed, "Same seed, same text")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  command->add_flag("--json", options->as_json, "Print one JSON object");
  command->callback([&action, options] { action = [options] { return run_generate(*options); }; });
}

}  // namespace lastbit::cli

// lastbit generate: text from a checkpoint.
#include "infer/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/device.h"
#include "cli/eval_model.h"
#include "core/error.h"
#include "text/stream_decoder.h"

namespace lastbit::cli {
namespace {

struct GenerateCommand {
  EvalModel model;
  std::string prompt;
  infer::GenerateOptions generate;
  std::string device = "cpu";
  bool as_json = false;
};

std::vector<std::int64_t> generate_tokens(const GenerateCommand& command, const LoadedModel& loaded,
                                          const std::vector<std::int64_t>& prompt) {
  const std::string device = usable_device(command.device);
  if (device == "cpu") return infer::generate(loaded.model, prompt, command.generate);
  const std::int64_t positions = loaded.model.config().max_position_embeddings;
  const std::int64_t capacity = std::min(positions, std::ssize(prompt) + command.generate.max_tokens);
  return infer::generate(device_decoder(device, loaded.model, capacity), positions, prompt, command.generate);
}

int run_generate(GenerateCommand command) {
  const LoadedModel loaded = load_for_eval(command.model);
  const text::Tokenizer& tokenizer = loaded.tokenizer;
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
  const std::vector<std::int64_t> tokens = generate_tokens(command, loaded, prompt);
  const std::string rest = decoder.finish();
  text += rest;
  if (!command.as_json) {
    std::cout << rest << '\n';
    return core::kExitOk;
  }
  const nlohmann::json object{{"schema", 1},
                              {"checkpoint", loaded.checkpoint},
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
  add_eval_model(*command, options->model);
  command->add_option("--prompt", options->prompt, "What is continued")->required();
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
  add_device(*command, options->device);
  command->add_flag("--json", options->as_json, "Print one JSON object");
  command->callback([&action, options] { action = [options] { return run_generate(*options); }; });
}

}  // namespace lastbit::cli

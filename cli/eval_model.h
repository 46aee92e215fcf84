// The model that an evaluation is of: its options, and how it is loaded.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "model/transformer.h"
#include "text/tokenizer.h"

namespace lastbit::cli {

struct EvalModel {
  std::string checkpoint;
  std::string tokenizer;
  std::string numerics = "fp32";
};

// --checkpoint, --tokenizer, --numerics
void add_eval_model(CLI::App& command, EvalModel& options);

struct LoadedModel {
  std::string checkpoint;
  std::string tokenizer_path;
  model::Transformer model;
  text::Tokenizer tokenizer;
};
// The embedded checkpoint by default; its own tokenizer.json, else the embedded vocabulary of 8,192. Errors: as
// Transformer::load; a vocabulary larger than the model's is bad input, an FP64 policy unsupported.
[[nodiscard]] LoadedModel load_for_eval(const EvalModel& options);

}  // namespace lastbit::cli

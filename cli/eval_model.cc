#include "cli/eval_model.h"

#include <filesystem>
#include <utility>

#include "core/error.h"
#include "corpus/tokenize_files.h"
#include "io/data_dir.h"
#include "model/numerics_file.h"

namespace lastbit::cli {

void add_eval_model(CLI::App& command, EvalModel& options) {
  command.add_option("--checkpoint", options.checkpoint,
                     "Hugging Face directory (default: the embedded checkpoint, data/checkpoints/tiny)");
  command.add_option("--tokenizer", options.tokenizer, "tokenizer.json (default: the checkpoint's)");
  command.add_option("--numerics", options.numerics, "Arithmetic: a policy of `lastbit presets`, or FILE.toml")
      ->capture_default_str();
}

LoadedModel load_for_eval(const EvalModel& options) {
  const std::string checkpoint = options.checkpoint.empty() ? io::data_path("checkpoints/tiny") : options.checkpoint;
  model::Transformer model = model::Transformer::load(checkpoint, model::find_numerics(options.numerics));
  if (ops::value_dtype(model.numerics()) != tensor::DType::kF32)
    core::fail_unsupported("numerics '{}': expected a policy of FP32 or less", options.numerics);
  const std::string own = checkpoint + "/tokenizer.json";
  std::string path = options.tokenizer;
  if (path.empty()) path = std::filesystem::exists(own) ? own : io::data_path("tokenizer/lastbit-8k.json");
  text::Tokenizer tokenizer = corpus::load_tokenizer(path);
  if (static_cast<std::int64_t>(tokenizer.id_limit()) > model.config().vocab_size)
    core::fail_input("{}: {} tokens, expected at most the model's vocab_size, {}", path, tokenizer.id_limit(),
                     model.config().vocab_size);
  return {checkpoint, std::move(path), std::move(model), std::move(tokenizer)};
}

}  // namespace lastbit::cli

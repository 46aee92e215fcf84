// lastbit run: token ids through a checkpoint, results by tap name.
#include <fmt/format.h>

#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "core/error.h"
#include "core/log.h"
#include "io/arrays.h"
#include "model/transformer.h"
#include "ops/numerics.h"
#include "tensor/tensor.h"

namespace lastbit::cli {
namespace {

struct RunOptions {
  std::string directory;
  std::string tokens;
  std::vector<std::int64_t> token_ids;
  std::vector<std::string> taps{"logits"};
  std::string numerics = "fp32";
  std::string out;
};

// The ids of --tokens or --token-ids, [B, S].
tensor::Tensor input_ids(const RunOptions& options) {
  if (options.tokens.empty() == options.token_ids.empty())
    core::fail_input("run: expected either --tokens or --token-ids, found {}",
                     options.tokens.empty() ? "neither" : "both");
  if (!options.tokens.empty()) return io::load_array(options.tokens);
  return tensor::Tensor::from<std::int64_t>({1, static_cast<std::int64_t>(options.token_ids.size())},
                                            options.token_ids);
}

int run_model(const RunOptions& options) {
  const ops::Numerics numerics = ops::numerics_by_name(options.numerics);
  if (!io::is_container(options.out))
    core::fail_input("--out {}: expected a name that ends in .safetensors, .npz or .h5", options.out);
  const tensor::Tensor ids = input_ids(options);
  const model::Transformer transformer = model::Transformer::load(options.directory, numerics);
  const tensor::NamedTensors results = transformer.forward(ids, options.taps);
  io::save_arrays(options.out, results);
  for (const auto& [name, array] : results)
    std::cout << fmt::format("{:<28} {:<5} {}\n", name, tensor::name(array.dtype()), tensor::to_string(array.shape()));
  core::log_info("wrote {}", options.out);
  return core::kExitOk;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("run", "Run token ids through a checkpoint and write what was asked for");
  const auto options = std::make_shared<RunOptions>();
  command->add_option("directory", options->directory, "Hugging Face directory: config.json and safetensors")
      ->required();
  command->add_option("--tokens", options->tokens, "Token ids, int64 [B, S]: FILE.npy or FILE.npz:KEY");
  command->add_option("--token-ids", options->token_ids, "One sequence of token ids instead of a file: 1,2,3")
      ->delimiter(',');
  command
      ->add_option("--tap", options->taps,
                   "What to write, comma-separated: logits, loss, hidden.layer0, attn_out.layer0, "
                   "router.topk_idx.layer1, ... (a wrong name is answered with the nearest)")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--numerics", options->numerics, "Arithmetic of the operators: fp32")->capture_default_str();
  command->add_option("--out", options->out, "FILE.safetensors, .npz or .h5; one array a tap, under its name")
      ->required();
  command->callback([&action, options] { action = [options] { return run_model(*options); }; });
}

}  // namespace lastbit::cli

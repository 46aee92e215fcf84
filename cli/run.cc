// lastbit run: token ids through a checkpoint, results by tap name.
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "core/error.h"
#include "io/arrays.h"
#include "model/transformer.h"
#include "ops/numerics.h"

namespace lastbit::cli {
namespace {

struct RunOptions {
  std::string directory;
  std::string tokens;
  std::vector<std::string> taps{"logits"};
  std::string numerics = "fp32";
  std::string out;
};

int run_model(const RunOptions& options) {
  const ops::Numerics numerics = ops::numerics_by_name(options.numerics);
  if (!io::is_container(options.out))
    core::fail_input("--out {}: expected a name that ends in .safetensors, .npz or .h5", options.out);
  const model::Transformer transformer = model::Transformer::load(options.directory, numerics);
  io::save_arrays(options.out, transformer.forward(io::load_array(options.tokens), options.taps));
  return core::kExitOk;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("run", "Run token ids through a checkpoint and write what was asked for");
  const auto options = std::make_shared<RunOptions>();
  command->add_option("directory", options->directory, "Hugging Face directory: config.json and safetensors")
      ->required();
  command->add_option("--tokens", options->tokens, "Token ids, int64 [B, S]: FILE.npy or FILE.npz:KEY")->required();
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

// lastbit convert: a checkpoint in another number format.
#include "model/convert.h"

#include <cmath>
#include <memory>
#include <string>

#include "cli/command.h"
#include "core/error.h"
#include "core/log.h"

namespace lastbit::cli {

void add_convert(CLI::App& app, Action& action) {
  struct ConvertOptions {
    std::string from;
    std::string to;
    std::string out;
    double shard_gb = 5;
  };
  CLI::App* command = app.add_subcommand("convert", "Write a checkpoint in another format: fp32, bf16, or fp8 blocks");
  const auto options = std::make_shared<ConvertOptions>();
  command->add_option("checkpoint", options->from, "Hugging Face directory, in any of these formats")->required();
  command->add_option("--to", options->to, "fp32, bf16, or fp8 (E4M3 in 128x128 blocks with weight_scale_inv)")
      ->required();
  command->add_option("--out", options->out, "Directory to write, without a checkpoint so far")->required();
  command->add_option("--shard-gb", options->shard_gb, "Largest shard, GB")
      ->check(CLI::Range(1e-3, 1e3))
      ->capture_default_str();
  command->callback([&action, options] {
    action = [options] {
      const model::WeightFormat format = model::find_weight_format(options->to);
      model::convert_checkpoint(options->from, options->out, format,
                                static_cast<std::size_t>(std::llround(options->shard_gb * 1e9)));
      core::log_info("wrote {} in {} to {}", options->from, options->to, options->out);
      return core::kExitOk;
    };
  });
}

}  // namespace lastbit::cli

// lastbit data: corpora to token shards.
#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/command.h"
#include "cli/progress.h"
#include "core/error.h"
#include "corpus/prepare.h"
#include "corpus/shards.h"

namespace lastbit::cli {
namespace {

void print_statistics(const nlohmann::json& statistics) {
  for (const auto& [key, value] : statistics.items()) {
    if (value.is_object()) continue;
    std::cout << fmt::format("{:<18}{}\n", key,
                             value.is_number_float() ? fmt::format("{:.4f}", value.get<double>()) : value.dump());
  }
  for (const auto& [reason, count] : statistics.at("dropped").items())
    std::cout << fmt::format("{:<18}{} ({})\n", "dropped", count.dump(), reason);
}

int run_prepare(const std::string& path, bool as_json) {
  const corpus::PrepareConfig config = corpus::load_prepare_config(path);
  std::optional<Progress> progress;
  std::string shown;
  const nlohmann::json index =
      corpus::prepare_data(config, [&](const std::string& stage, std::uint64_t done, std::uint64_t all) {
        if (stage != shown) {
          if (progress) progress->finish();
          progress.emplace(stage, stage == "documents" ? "MB" : "documents");
          shown = stage;
        }
        const double unit = stage == "documents" ? 1e-6 : 1.0;
        progress->show(static_cast<double>(done) * unit, static_cast<double>(all) * unit);
      });
  if (progress) progress->finish();
  if (as_json) {
    std::cout << index.dump(1) << '\n';
  } else {
    print_statistics(index.at("statistics"));
    std::cout << fmt::format("{} shards in {}\n", index.at("shards").size(), config.output);
  }
  return core::kExitOk;
}

void add_prepare(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("prepare",
                                            "Documents to token shards: clean, filter, remove duplicates, "
                                            "tokenise, shuffle, pack");
  const auto path = std::make_shared<std::string>();
  const auto as_json = std::make_shared<bool>(false);
  command->add_option("CONFIG", *path, "TOML or JSON; docs/data.md lists the keys")->required();
  command->add_flag("--json", *as_json, "Print index.json instead of a table");
  command->callback([path, as_json, &action] { action = [path, as_json] { return run_prepare(*path, *as_json); }; });
}

int run_check_shards(const std::string& folder) {
  const corpus::ShardIndex index = corpus::load_shard_index(folder);
  std::int64_t windows = 0;
  for (std::size_t i = 0; i < index.shards.size(); ++i) windows += corpus::load_shard(index, i).tokens.dim(0);
  std::cout << fmt::format("{}: {} shards and {} windows of {} tokens are as the index says\n", folder,
                           index.shards.size(), windows, index.window_tokens);
  return core::kExitOk;
}

void add_check_shards(CLI::App& parent, Action& action) {
  CLI::App* command = parent.add_subcommand("check", "Read every shard and compare it with the index");
  const auto folder = std::make_shared<std::string>();
  command->add_option("FOLDER", *folder, "Output of data prepare")->required();
  command->callback([folder, &action] { action = [folder] { return run_check_shards(*folder); }; });
}

}  // namespace

void add_data(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("data", "Corpora to token shards: prepare, check");
  command->require_subcommand(1);
  add_prepare(*command, action);
  add_check_shards(*command, action);
}

}  // namespace lastbit::cli

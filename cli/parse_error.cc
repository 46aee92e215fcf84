// What to say when the command line cannot be parsed.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cli/command.h"
#include "core/suggest.h"

namespace lastbit::cli {
namespace {

// The innermost subcommand that was recognised.
const CLI::App& innermost(const CLI::App& app) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  return parsed.empty() ? app : innermost(*parsed.back());
}

std::vector<std::string> subcommand_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

std::string full_name(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? app.get_name() : full_name(*parent) + " " + app.get_name();
}

}  // namespace

std::string describe_parse_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = innermost(app);
  const std::vector<std::string> unknown = app.remaining(true);
  const std::string help = fmt::format("see {} --help", full_name(command));
  if (unknown.empty()) return fmt::format("{}; {}", error.what(), help);
  const std::string& word = unknown.front();
  if (word.starts_with('-') && word.size() > 1) {
    const std::string name = word.substr(0, word.find('='));
    const std::vector<std::string> global = option_names(app);
    if (&command != &app && std::find(global.begin(), global.end(), name) != global.end())
      return fmt::format("option '{}' goes before the subcommand: {} {} ...", name, app.get_name(), name);
    std::vector<std::string> known = option_names(command);
    known.insert(known.end(), global.begin(), global.end());
    return fmt::format("unknown option '{}'{}; {}", name, core::suggestion(name, known), help);
  }
  const std::vector<std::string> subcommands = subcommand_names(command);
  if (subcommands.empty() || command.get_require_subcommand_min() == 0)
    return fmt::format("unexpected argument '{}'; {}", word, help);
  return fmt::format("unknown subcommand '{}'{}; {}", word, core::suggestion(word, subcommands), help);
}

}  // namespace lastbit::cli

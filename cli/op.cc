// lastbit op: one operator on arrays from files.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "check/op_registry.h"
#include "cli/command.h"
#include "core/error.h"
#include "core/suggest.h"
#include "io/arrays.h"

namespace lastbit::cli {
namespace {

using check::OpElements;
using check::OpEntry;
using check::OpSetting;
using check::OpSettingKind;
using tensor::NamedTensors;
using tensor::Tensor;

struct OpOptions {
  std::string name;
  bool list = false;
  std::vector<std::string> in;
  std::vector<std::string> settings;
  std::string out;
};

const char* dtype_text(OpElements elements) {
  switch (elements) {
    case OpElements::kFloat:
    case OpElements::kLogits:
      return "f32|f64";
    case OpElements::kSingle:
      return "f32";
    case OpElements::kDouble:
      return "f64";
    case OpElements::kIndex:
      return "i64";
    case OpElements::kOther:
      break;
  }
  return "any";
}

std::string values_text(const OpSetting& setting) {
  switch (setting.kind) {
    case OpSettingKind::kWhole:
      return fmt::format("{} to {}", setting.least, setting.most);
    case OpSettingKind::kNumber:
      return fmt::format("{} to {}, real", setting.least, setting.most);
    case OpSettingKind::kFlag:
      return "true, false";
    case OpSettingKind::kChoice:
      return fmt::format("{}", fmt::join(setting.choices, ", "));
    case OpSettingKind::kText:
      break;
  }
  return "text";
}

void print_setting(const OpSetting& setting) {
  const std::string given = setting.fallback.empty() ? setting.key : setting.key + "=" + setting.fallback;
  std::cout << fmt::format("  {:<30} {} ({})\n", given, setting.meaning, values_text(setting));
}

void print_entry(const OpEntry& op) {
  std::cout << fmt::format("{}: {}\n\nInputs, --in FILE or --in NAME=FILE:KEY\n", op.name, op.description);
  for (const check::OpInput& input : op.inputs)
    std::cout << fmt::format("  {:<18} {:<8} {:<26} {}{}\n", input.name, dtype_text(input.elements), input.shape,
                             input.meaning, input.required ? "" : "; optional");
  std::cout << "\nSettings, --set KEY=VALUE, and what holds without them\n";
  for (const OpSetting& setting : op.settings) print_setting(setting);
  print_setting(check::cast_setting());
  std::cout << "\nResults, --out FILE\n";
  for (const check::OpOutput& output : op.outputs)
    std::cout << fmt::format("  {:<18} {:<26} {}\n", output.name, output.shape, output.meaning);
}

void print_list() {
  for (const OpEntry& op : check::op_registry()) std::cout << fmt::format("{:<28} {}\n", op.name, op.description);
}

std::string one_value(const Tensor& result) {
  if (result.size() != 1) return "";
  switch (result.dtype()) {
    case tensor::DType::kF64:
      return fmt::format("  {}", result.values<double>()[0]);
    case tensor::DType::kF32:
      return fmt::format("  {}", result.values<float>()[0]);
    case tensor::DType::kI64:
      return fmt::format("  {}", result.values<std::int64_t>()[0]);
    default:
      return "";
  }
}

void print_results(const OpEntry& op, const NamedTensors& results) {
  for (const check::OpOutput& output : op.outputs) {
    const auto found = results.find(output.name);
    if (found == results.end()) continue;
    const Tensor& result = found->second;
    std::cout << fmt::format("{:<28} {:<5} {}{}\n", output.name, tensor::name(result.dtype()),
                             tensor::to_string(result.shape()), one_value(result));
  }
}

void add_input(NamedTensors& inputs, const std::string& name, const Tensor& array) {
  if (!inputs.emplace(name, array).second) core::fail_input("--in: input '{}' is given twice", name);
}

// "NAME=FILE:KEY" binds one array, "FILE" all of a container under the names that they have there.
NamedTensors load_inputs(const OpEntry& op, const std::vector<std::string>& words) {
  std::vector<std::string> names;
  for (const check::OpInput& input : op.inputs) names.push_back(input.name);
  NamedTensors inputs;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    if (equals != std::string::npos && name.find('/') == std::string::npos) {
      if (std::find(names.begin(), names.end(), name) == names.end())
        core::fail_input("--in {}: {} has no input '{}'{}, expected {}", word, op.name, name,
                         core::suggestion(name, names), fmt::join(names, ", "));
      add_input(inputs, name, io::load_array(word.substr(equals + 1)));
      continue;
    }
    if (!io::is_container(word))
      core::fail_input("--in {}: expected NAME=FILE, or a file that ends in .npz, .safetensors or .h5", word);
    for (const auto& [key, array] : io::load_arrays(word)) {
      if (std::find(names.begin(), names.end(), key) == names.end())
        core::fail_input("--in {}: {} has no input '{}'{}, expected {}; bind single arrays by --in NAME={}:KEY", word,
                         op.name, key, core::suggestion(key, names), fmt::join(names, ", "), word);
      add_input(inputs, key, array);
    }
  }
  return inputs;
}

check::OpSettings read_settings(const std::vector<std::string>& words) {
  check::OpSettings settings;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) core::fail_input("--set {}: expected KEY=VALUE", word);
    if (!settings.emplace(word.substr(0, equals), word.substr(equals + 1)).second)
      core::fail_input("--set {}: '{}' is set twice", word, word.substr(0, equals));
  }
  return settings;
}

int run_op(const OpOptions& options) {
  if (options.list) {
    if (!options.name.empty()) core::fail_input("op: --list goes without a name, found '{}'", options.name);
    print_list();
    return core::kExitOk;
  }
  if (options.name.empty()) core::fail_input("op: expected the name of an operator, or --list");
  const OpEntry& op = check::find_op(options.name);
  if (options.in.empty() && options.settings.empty() && options.out.empty()) {
    print_entry(op);
    return core::kExitOk;
  }
  const check::OpSettings settings = read_settings(options.settings);
  const NamedTensors results = check::run_op(op, load_inputs(op, options.in), settings);
  if (!options.out.empty()) io::save_arrays(options.out, results);
  print_results(op, results);
  return core::kExitOk;
}

}  // namespace

void add_op(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("op", "Run one operator, forward and backward, on arrays from files: the smallest reference");
  const auto options = std::make_shared<OpOptions>();
  command->add_option("NAME", options->name, "Operator; alone, its inputs, settings and results are printed");
  command->add_flag("--list", options->list, "List the operators");
  command->add_option("--in", options->in,
                      "Inputs, repeatable: FILE.safetensors, .npz or .h5 with arrays of the inputs' names, or "
                      "NAME=FILE.npy, NAME=FILE.npz:KEY for one");
  command->add_option("--set", options->settings, "KEY=VALUE of the operator's settings, repeatable");
  command->add_option("--out", options->out, "FILE.safetensors, .npz or .h5 for the results; without it, their shapes");
  command->callback([&action, options] { action = [options] { return run_op(*options); }; });
}

}  // namespace lastbit::cli

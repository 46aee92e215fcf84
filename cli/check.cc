// lastbit check: compares arrays with their references and says where they part.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "core/error.h"
#include "io/arrays.h"
#include "tensor/compare.h"

namespace lastbit::cli {
namespace {

using nlohmann::json;
using tensor::Comparison;
using tensor::ElementPair;

struct CheckOptions {
  std::string reference;
  std::string candidate;
  std::string tolerance = "bitwise";
  std::string as;
  bool json = false;
};

// One array of the comparison; `key` is "" when two single arrays are compared.
struct Checked {
  std::string key;
  Comparison comparison;
};

Comparison missing(const std::string& whose) {
  Comparison comparison;
  comparison.difference = "missing in the " + whose;
  return comparison;
}

Comparison compare_arrays(const tensor::Tensor& reference, const tensor::Tensor& candidate,
                          const tensor::Tolerance& tolerance, const CheckOptions& options, const std::string& key) {
  try {
    return tensor::compare(reference, candidate, tolerance, options.as);
  } catch (const core::Error& error) {
    if (key.empty()) throw;
    throw core::Error(error.kind(), fmt::format("array '{}': {}", key, error.what()));
  }
}

std::vector<Checked> check_containers(const CheckOptions& options, const tensor::Tolerance& tolerance) {
  const tensor::NamedTensors references = io::load_arrays(options.reference);
  const tensor::NamedTensors candidates = io::load_arrays(options.candidate);
  if (references.empty()) core::fail_input("{}: holds no arrays to check against", options.reference);
  std::vector<Checked> checked;
  for (const auto& [key, reference] : references) {
    const auto candidate = candidates.find(key);
    checked.push_back({key, candidate == candidates.end()
                                ? missing("candidate")
                                : compare_arrays(reference, candidate->second, tolerance, options, key)});
  }
  for (const auto& [key, candidate] : candidates)
    if (!references.contains(key)) checked.push_back({key, missing("reference")});
  return checked;
}

std::vector<Checked> check_arrays(const CheckOptions& options, const tensor::Tolerance& tolerance) {
  const auto whole_container = [](const std::string& path) {
    return io::is_container(path) && io::split_array_path(path).key.empty();
  };
  if (whole_container(options.reference) && whole_container(options.candidate))
    return check_containers(options, tolerance);
  const tensor::Tensor reference = io::load_array(options.reference);
  const tensor::Tensor candidate = io::load_array(options.candidate);
  return {{"", compare_arrays(reference, candidate, tolerance, options, "")}};
}

void print_pair(const char* label, const std::optional<ElementPair>& pair) {
  if (!pair) return;
  std::cout << fmt::format("  {:<12} {}  reference {} ({})  candidate {} ({})\n", label,
                           tensor::to_string(pair->coordinates), pair->reference_bits, pair->reference_value,
                           pair->candidate_bits, pair->candidate_value);
}

void print_details(const Comparison& result) {
  if (result.nonfinite_mismatches > 0) {
    std::cout << fmt::format("  {:<12} {} mismatches with a NaN or an infinity\n", "non-finite",
                             result.nonfinite_mismatches);
    print_pair("", result.first_nonfinite);
  }
  std::cout << fmt::format("  {:<12} {} beyond the tolerance, {} with other bits, of {}\n", "elements",
                           result.mismatches, result.differing, result.elements);
  if (result.by_value)
    std::cout << fmt::format("  {:<12} not counted: the dtypes differ, values are compared in f64\n", "ulp");
  else
    std::cout << fmt::format("  {:<12} worst {}, p99 {}\n", "ulp", result.worst_ulp, result.p99_ulp);
  std::cout << fmt::format("  {:<12} abs {:.3g}, rel {:.3g}, norm {:.3g}\n", "error", result.max_abs, result.max_rel,
                           result.norm);
  print_pair("first", result.first);
  print_pair("worst", result.worst);
}

// "f32 [2, 3]: match", and what there is to say beyond it.
void print_checked(const Checked& checked, std::size_t key_width) {
  const Comparison& result = checked.comparison;
  const std::string key = checked.key.empty() ? "" : fmt::format("{:<{}}  ", checked.key, key_width);
  if (!result.difference.empty()) {
    std::cout << fmt::format("{}MISMATCH  {}\n", key, result.difference);
    return;
  }
  const std::string what = fmt::format("{} {}", result.type, tensor::to_string(result.shape));
  if (result.match && result.differing == 0) {
    std::cout << fmt::format("{}match     {}, all bits\n", key, what);
    return;
  }
  std::cout << fmt::format("{}{}  {}\n", key, result.match ? "match   " : "MISMATCH", what);
  print_details(result);
}

void print_report(const CheckOptions& options, const tensor::Tolerance& tolerance, const std::vector<Checked>& checked,
                  std::size_t failed) {
  std::cout << fmt::format("reference  {}\ncandidate  {}\ntolerance  {}\n\n", options.reference, options.candidate,
                           tensor::to_string(tolerance));
  std::size_t key_width = 0;
  for (const Checked& one : checked) key_width = std::max(key_width, one.key.size());
  for (const Checked& one : checked) print_checked(one, key_width);
  const bool one_array = checked.size() == 1 && checked.front().key.empty();
  if (!one_array) std::cout << fmt::format("\n{} arrays, {} mismatched\n", checked.size(), failed);
}

// JSON has no infinity: it is written as the string "inf".
json number(double value) { return std::isfinite(value) ? json(value) : json("inf"); }

json to_json(const std::optional<ElementPair>& pair) {
  if (!pair) return nullptr;
  return {{"coordinates", pair->coordinates},
          {"reference", {{"bits", pair->reference_bits}, {"value", pair->reference_value}}},
          {"candidate", {{"bits", pair->candidate_bits}, {"value", pair->candidate_value}}}};
}

json to_json(const Checked& checked) {
  const Comparison& result = checked.comparison;
  json object{{"key", checked.key}, {"match", result.match}};
  if (!result.difference.empty()) {
    object["difference"] = result.difference;
    return object;
  }
  object.update({{"type", result.type},
                 {"shape", result.shape},
                 {"elements", result.elements},
                 {"differing", result.differing},
                 {"mismatches", result.mismatches},
                 {"nonfinite_mismatches", result.nonfinite_mismatches},
                 {"by_value", result.by_value},
                 {"worst_ulp", result.by_value ? json(nullptr) : json(result.worst_ulp)},
                 {"p99_ulp", result.by_value ? json(nullptr) : json(result.p99_ulp)},
                 {"max_abs", number(result.max_abs)},
                 {"max_rel", number(result.max_rel)},
                 {"norm", number(result.norm)},
                 {"first", to_json(result.first)},
                 {"first_nonfinite", to_json(result.first_nonfinite)},
                 {"worst", to_json(result.worst)}});
  return object;
}

void print_check_json(const CheckOptions& options, const tensor::Tolerance& tolerance,
                      const std::vector<Checked>& checked, std::size_t failed) {
  json arrays = json::array();
  for (const Checked& one : checked) arrays.push_back(to_json(one));
  const json report{{"schema", 1},
                    {"reference", options.reference},
                    {"candidate", options.candidate},
                    {"tolerance", tensor::to_string(tolerance)},
                    {"match", failed == 0},
                    {"arrays", arrays}};
  std::cout << report.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
}

int run_check(const CheckOptions& options) {
  if (options.reference.empty()) core::fail_input("check: expected --reference with an array or a file of arrays");
  if (options.candidate.empty()) core::fail_input("check: expected --candidate with an array or a file of arrays");
  const tensor::Tolerance tolerance = tensor::parse_tolerance(options.tolerance);
  const std::vector<Checked> checked = check_arrays(options, tolerance);
  const auto failed = static_cast<std::size_t>(
      std::count_if(checked.begin(), checked.end(), [](const Checked& one) { return !one.comparison.match; }));
  (options.json ? print_check_json : print_report)(options, tolerance, checked, failed);
  return failed == 0 ? core::kExitOk : core::kExitCheckFailed;
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("check", "Compare an array, or all arrays of a file, with a reference");
  const auto options = std::make_shared<CheckOptions>();
  command->add_option("--reference", options->reference,
                      "Array (FILE.npy, FILE.npz:KEY, FILE.safetensors:KEY, FILE.h5:KEY) or whole file of arrays");
  command->add_option("--candidate", options->candidate, "Array or file to compare with the reference");
  command->add_option("--tolerance", options->tolerance,
                      "bitwise (default), ulp=N, abs=X, rel=X (element by element) or norm=X (of the whole array); "
                      "with ',nan=any' a NaN matches any NaN");
  command->add_option("--as", options->as,
                      "Take elements as codes of this type: f32, f16, bf16, e4m3, e5m2, e8m0, tf32, ...");
  command->add_flag("--json", options->json, "Print the report as JSON");
  add_check_gpu_records(*command, action);
  add_check_kernel(*command, action);
  // Nested subcommands choose their own action.
  command->callback([command, options, &action] {
    if (command->get_subcommands().empty()) action = [options] { return run_check(*options); };
  });
}

}  // namespace lastbit::cli

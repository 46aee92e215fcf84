// lastbit units: the tensor cores that there are models of, and how well each is known.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "core/error.h"
#include "io/unit_file.h"
#include "numerics/gemm.h"

namespace lastbit::cli {
namespace {

using numerics::Unit;
using numerics::UnitRow;

struct UnitsOptions {
  std::string unit;
  bool json = false;
};

std::vector<std::string> operand_names(const UnitRow& row) {
  std::vector<std::string> names;
  for (const numerics::Format format : row.operands) names.emplace_back(numerics::name(format));
  return names;
}

bool has_vector_path(const Unit& unit, const UnitRow& row) {
  return numerics::vectorised(numerics::rule_of(unit, row.operands.front(), row.operands.front(), row.d));
}

std::string evidence(const Unit& unit, const UnitRow& row) {
  return unit.provenance.empty() ? std::string(numerics::to_string(row.evidence)) : unit.provenance;
}

std::string readings(const UnitRow& row) {
  std::string text;
  if (row.zero_exponent) text += fmt::format(", zeros in E at {}", *row.zero_exponent);
  if (row.least_alignment) text += fmt::format(", E at least {}", *row.least_alignment);
  return text;
}

void print_text(const std::vector<Unit>& units) {
  for (const Unit& unit : units) {
    std::cout << fmt::format("{}  {}\n", unit.name, unit.hardware);
    for (const UnitRow& row : unit.rows) {
      const bool exact = row.accumulation == numerics::Accumulation::kExact;
      const std::string operands =
          fmt::format("{}{}", fmt::join(operand_names(row), row.mixed ? "|" : ", "), row.mixed ? " (any pair)" : "");
      std::cout << fmt::format("  {:<32}{:<12}F {:<4}K {:<4}{} to {:<6}{:<8}{}{}\n", operands,
                               numerics::to_string(row.accumulation), exact ? "-" : std::to_string(row.fraction_bits),
                               row.step_k, numerics::name(row.d), numerics::name(row.output_grid),
                               has_vector_path(unit, row) ? "vector" : "plain", evidence(unit, row), readings(row));
    }
  }
  std::cout << "\nVariants of units that truncate, for questions that the sources leave open: UNIT+VARIANT\n";
  for (const numerics::UnitVariant& variant : numerics::unit_variants())
    std::cout << fmt::format("  {:<12}{}\n", variant.name, variant.meaning);
  std::cout << "\nGPU records: bits captured on the GPU, by Khattak and Mikaitis (arXiv 2512.07004) or, on an H200, by "
               "us: lastbit "
               "check gpu-records.\n"
               "model vectors: MMA-Sim (arXiv 2511.10909), commit c785138. unverified: the sources' rule alone.\n";
}

void print_json(const std::vector<Unit>& units) {
  nlohmann::json all = nlohmann::json::array();
  for (const Unit& unit : units) {
    nlohmann::json rows = nlohmann::json::array();
    for (const UnitRow& row : unit.rows) {
      nlohmann::json entry{
          {"operands", operand_names(row)},
          {"mixed", row.mixed},
          {"accumulation", numerics::to_string(row.accumulation)},
          {"fraction_bits", row.fraction_bits},
          {"step_k", row.step_k},
          {"d", numerics::name(row.d)},
          {"output_grid", numerics::name(row.output_grid)},
          {"output_rounding", row.output_rounding == numerics::Rounding::kTowardZero ? "zero" : "nearest"},
          {"vectorised", has_vector_path(unit, row)},
          {"evidence", evidence(unit, row)}};
      if (row.zero_exponent) entry["zero_exponent"] = *row.zero_exponent;
      if (row.least_alignment) entry["least_alignment"] = *row.least_alignment;
      rows.push_back(entry);
    }
    all.push_back({{"name", unit.name}, {"hardware", unit.hardware}, {"row", rows}});
  }
  nlohmann::json variants = nlohmann::json::array();
  for (const numerics::UnitVariant& variant : numerics::unit_variants())
    variants.push_back({{"name", variant.name}, {"meaning", variant.meaning}});
  std::cout << nlohmann::json{{"schema", 1}, {"unit", all}, {"variants", variants}}.dump(2) << '\n';
}

int run_units(const UnitsOptions& options) {
  std::vector<Unit> units(numerics::units().begin(), numerics::units().end());
  if (!options.unit.empty()) units = {io::find_unit(options.unit)};
  if (options.json)
    print_json(units);
  else
    print_text(units);
  return core::kExitOk;
}

}  // namespace

void add_units(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("units", "List the tensor-core models: rule, variants, and what each was held to");
  const auto options = std::make_shared<UnitsOptions>();
  command->add_option("UNIT", options->unit, "One of them, with +VARIANT, or FILE.toml[:NAME]");
  command->add_flag("--json", options->json, "Print one JSON object");
  command->callback([options, &action] { action = [options] { return run_units(*options); }; });
}

}  // namespace lastbit::cli

#include "io/unit_file.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "io/config_file.h"
#include "io/config_reader.h"
#include "numerics/parse.h"

namespace lastbit::io {
namespace {

using numerics::Accumulation;
using numerics::Format;
using numerics::Rounding;
using numerics::Unit;
using numerics::UnitRow;

const std::vector<std::string> kOperands{"e4m3", "e5m2", "e4m3fnuz", "e5m2fnuz", "e2m1", "e5m6", "f16", "bf16", "tf32"};
const std::vector<std::string> kAccumulations{"truncated", "cdna3", "cdna3_split", "exact",
                                              "fp16_halves"};  // as the enumeration

constexpr std::int64_t kMostFractionBits = 35;  // the widest that mma.h's integers hold
constexpr std::int64_t kMostStep = 64;
constexpr std::int64_t kMostExponent = 1000;

// Like require_one_of, for a key that may be left out.
std::string one_of_or(const ConfigReader& reader, const std::string& key, const std::vector<std::string>& choices) {
  return reader.has(key) ? reader.require_one_of(key, choices) : choices.front();
}

std::optional<int> optional_exponent(const ConfigReader& reader, const std::string& key) {
  if (!reader.has(key)) return std::nullopt;
  return static_cast<int>(reader.require_in(key, -kMostExponent, kMostExponent));
}

std::vector<Format> read_operands(const ConfigReader& reader) {
  std::vector<Format> operands;
  for (const std::string& name : reader.require<std::vector<std::string>>("operands")) {
    if (std::ranges::find(kOperands, name) == kOperands.end())
      reader.fail("operands", "names among e4m3, e5m2, e4m3fnuz, e5m2fnuz, e2m1, e5m6, f16, bf16, tf32");
    operands.push_back(numerics::require_format(name));
  }
  if (operands.empty()) reader.fail("operands", "at least one format");
  return operands;
}

UnitRow read_row(const ConfigReader& reader) {
  UnitRow row{};
  row.operands = read_operands(reader);
  row.mixed = reader.get_or("mixed", false);
  const std::string accumulation = one_of_or(reader, "accumulation", kAccumulations);
  row.accumulation =
      static_cast<Accumulation>(std::ranges::find(kAccumulations, accumulation) - kAccumulations.begin());
  if (row.accumulation != Accumulation::kExact)
    row.fraction_bits = static_cast<int>(reader.require_in("fraction_bits", std::int64_t{0}, kMostFractionBits));
  row.step_k = static_cast<int>(reader.require_in("step_k", std::int64_t{1}, kMostStep));
  const std::vector<std::string> accumulators{"f32", "f16"};
  row.d = numerics::require_format(one_of_or(reader, "d", accumulators));
  const std::vector<std::string> grids =
      row.d == Format::kF32 ? std::vector<std::string>{"f32", "e8m13", "tf32"} : std::vector<std::string>{"f16"};
  row.output_grid = numerics::require_format(one_of_or(reader, "output_grid", grids));
  row.output_rounding = one_of_or(reader, "output_rounding", {"zero", "nearest"}) == "zero" ? Rounding::kTowardZero
                                                                                            : Rounding::kNearestEven;
  row.evidence = numerics::Evidence::kUnverified;
  row.zero_exponent = optional_exponent(reader, "zero_exponent");
  row.least_alignment = optional_exponent(reader, "least_alignment");
  if (row.accumulation != Accumulation::kTruncated && (row.zero_exponent || row.least_alignment))
    reader.fail("accumulation", "truncated with zero_exponent or least_alignment");
  reader.finish();
  return row;
}

Unit read_unit(const ConfigReader& reader) {
  Unit unit;
  unit.name = reader.require<std::string>("name");
  if (unit.name.empty() || unit.name.find_first_of("+:") != std::string::npos)
    reader.fail("name", "a name without '+' and ':'");
  unit.hardware = reader.get_or<std::string>("hardware", "");
  unit.provenance = reader.get_or<std::string>("provenance", "defined in " + reader.file());
  for (const ConfigReader& row : reader.require_objects("row")) unit.rows.push_back(read_row(row));
  if (unit.rows.empty()) reader.fail("row", "at least one row");
  reader.finish();
  return unit;
}

// Where the file's name ends in "units.toml:name" or "units.toml"; npos if none is named.
std::size_t end_of_file_name(const std::string& text) {
  for (const char* extension : {".toml", ".json"}) {
    const std::size_t at = text.find(extension);
    if (at == std::string::npos) continue;
    const std::size_t end = at + std::string_view(extension).size();
    if (end == text.size() || text[end] == ':' || text[end] == '+') return end;
  }
  return std::string::npos;
}

Unit pick(const std::string& path, const std::string& name) {
  const std::vector<Unit> units = load_units(path);
  if (name.empty()) {
    if (units.size() != 1)
      core::fail_input("{}: defines {} units, expected the name of one: {}:{}", path, units.size(), path,
                       units.front().name);
    return units.front();
  }
  std::vector<std::string> names;
  for (const Unit& unit : units) names.push_back(unit.name);
  return units[numerics::require_name(path + ": unit", name, names)];
}

}  // namespace

std::vector<Unit> load_units(const std::string& path) {
  const ConfigReader reader(load_config_file(path), path);
  std::vector<Unit> units;
  std::set<std::string> names;
  for (const ConfigReader& entry : reader.require_objects("unit")) {
    units.push_back(read_unit(entry));
    if (!names.insert(units.back().name).second) entry.fail("name", "a name that no other unit of the file has");
  }
  if (units.empty()) reader.fail("unit", "at least one unit");
  reader.finish();
  return units;
}

std::string unit_toml(const Unit& unit) {
  // A JSON string of printable text is a TOML string, too.
  const auto quoted = [](std::string_view text) { return nlohmann::json(text).dump(); };
  std::string text = fmt::format("[[unit]]\nname = {}\n", quoted(unit.name));
  if (!unit.hardware.empty()) text += fmt::format("hardware = {}\n", quoted(unit.hardware));
  if (!unit.provenance.empty()) text += fmt::format("provenance = {}\n", quoted(unit.provenance));
  for (const UnitRow& row : unit.rows) {
    std::string operands;
    for (const Format format : row.operands)
      operands += (operands.empty() ? "" : ", ") + quoted(numerics::name(format));
    text += fmt::format("\n[[unit.row]]\noperands = [{}]\n", operands);
    if (row.mixed) text += "mixed = true\n";
    if (row.accumulation != Accumulation::kTruncated)
      text += fmt::format("accumulation = {}\n", quoted(numerics::to_string(row.accumulation)));
    if (row.accumulation != Accumulation::kExact) text += fmt::format("fraction_bits = {}\n", row.fraction_bits);
    text += fmt::format("step_k = {}\nd = {}\noutput_grid = {}\noutput_rounding = \"{}\"\n", row.step_k,
                        quoted(numerics::name(row.d)), quoted(numerics::name(row.output_grid)),
                        row.output_rounding == Rounding::kTowardZero ? "zero" : "nearest");
    if (row.zero_exponent) text += fmt::format("zero_exponent = {}\n", *row.zero_exponent);
    if (row.least_alignment) text += fmt::format("least_alignment = {}\n", *row.least_alignment);
  }
  return text;
}

Unit find_unit(const std::string& name_or_file) {
  const std::size_t file_end = end_of_file_name(name_or_file);
  const std::size_t plus = name_or_file.find('+', file_end == std::string::npos ? 0 : file_end);
  const std::string whole = name_or_file.substr(0, plus);
  const Unit unit = file_end == std::string::npos
                        ? numerics::find_unit(whole)
                        : pick(whole.substr(0, file_end), whole.substr(std::min(file_end + 1, whole.size())));
  return plus == std::string::npos ? unit : numerics::with_variants(unit, name_or_file.substr(plus + 1));
}

numerics::MmaRule find_rule(const std::string& unit, const std::string& a_type, const std::string& b_type,
                            const std::string& d_type) {
  const numerics::Unit found = find_unit(unit);
  const auto type = [&](const std::string& name) { return numerics::find_operand_type(found, name); };
  return numerics::rule_of(found, type(a_type), type(b_type), type(d_type));
}

numerics::MmaRule find_gemm_rule(const std::string& policy, const std::string& unit, const std::string& a_type,
                                 const std::string& b_type) {
  const numerics::GemmPolicy& chosen = numerics::find_gemm_policy(policy);
  const std::string operand(numerics::name(chosen.operand));
  return find_rule(unit.empty() ? chosen.unit : unit, a_type.empty() ? operand : a_type,
                   b_type.empty() ? operand : b_type, "f32");
}

}  // namespace lastbit::io

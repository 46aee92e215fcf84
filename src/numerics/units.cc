#include "numerics/units.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "numerics/parse.h"

namespace lastbit::numerics {
namespace {

// Rows of rule kTruncated: to FP32 by truncation, to the 13 fraction bits of Hopper's and Ada's FP8, to FP16.
UnitRow to_f32(const std::vector<Format>& operands, int fraction_bits, int step_k, Evidence evidence) {
  const bool fp8 = operands.front() == Format::kE4M3;  // FP8 types mix, 16-bit types do not
  return {operands,     fp8,          Accumulation::kTruncated, fraction_bits, step_k,
          Format::kF32, Format::kF32, Rounding::kTowardZero,    evidence};
}

UnitRow to_e8m13(const std::vector<Format>& operands, int step_k, Evidence evidence) {
  UnitRow row = to_f32(operands, 13, step_k, evidence);
  row.output_grid = Format::kE8M13;
  return row;
}

UnitRow to_f16(const std::vector<Format>& operands, int fraction_bits, int step_k, Evidence evidence) {
  UnitRow row = to_f32(operands, fraction_bits, step_k, evidence);
  row.d = row.output_grid = Format::kF16;
  row.output_rounding = Rounding::kNearestEven;
  return row;
}

// FP8 operands that go through the FP16 unit.
UnitRow fp16_halves(UnitRow row) {
  row.accumulation = Accumulation::kFp16Halves;
  return row;
}

// Rows that round once to FP32.
UnitRow rounded_once(const std::vector<Format>& operands, bool mixed, Accumulation accumulation, int fraction_bits,
                     int step_k, Evidence evidence) {
  return {operands,     mixed,        accumulation,           fraction_bits, step_k,
          Format::kF32, Format::kF32, Rounding::kNearestEven, evidence};
}

std::vector<Unit> make_units() {
  const std::vector<Format> fp8{Format::kE4M3, Format::kE5M2};
  const std::vector<Format> fnuz{Format::kE4M3Fnuz, Format::kE5M2Fnuz};
  const std::vector<Format> half{Format::kF16};
  const std::vector<Format> halves{Format::kF16, Format::kBF16};
  const std::vector<Format> tf32{Format::kTF32};
  constexpr Evidence kGpu = Evidence::kGpuRecords;
  constexpr Evidence kModel = Evidence::kModelVectors;
  constexpr Evidence kNone = Evidence::kUnverified;
  return {
      {"volta_mma", "V100: mma", {to_f32(half, 23, 4, kGpu), to_f16(half, 23, 4, kNone)}},
      {"turing_mma", "T4, RTX 20: mma", {to_f32(half, 24, 8, kModel), to_f16(half, 24, 8, kNone)}},
      {"ampere_mma",
       "A100, RTX 30: mma",
       {to_f32(halves, 24, 8, kGpu), to_f16(half, 24, 8, kModel), to_f32(tf32, 24, 4, kGpu)}},
      {"ada_mma",
       "L4, L40S, RTX 40: mma",
       {to_f32(halves, 24, 8, kGpu), to_f16(half, 24, 8, kModel), to_f32(tf32, 24, 4, kGpu), to_e8m13(fp8, 16, kGpu),
        to_f16(fp8, 13, 16, kModel)}},
      {"hopper_wgmma",
       "H100, H200, H800: wgmma",
       {to_e8m13(fp8, 32, kGpu), to_f16(fp8, 13, 32, kGpu), to_f32(halves, 25, 16, kGpu), to_f16(half, 25, 16, kGpu),
        to_f32(tf32, 25, 8, kGpu)}},
      {"hopper_mma_sync",
       "H100, H200, H800: mma.sync",
       {fp16_halves(to_f32(fp8, 25, 32, kGpu)), fp16_halves(to_f16(fp8, 25, 32, kGpu)), to_f32(halves, 25, 16, kGpu),
        to_f16(half, 25, 16, kGpu), to_f32(tf32, 25, 8, kGpu)}},
      {"blackwell_tcgen05",
       "B200: tcgen05.mma",
       {to_f32(fp8, 25, 32, kModel), to_f16(fp8, 25, 32, kModel), to_f32(halves, 25, 16, kGpu),
        to_f16(half, 25, 16, kModel), to_f32(tf32, 25, 8, kGpu)}},
      {"rtx_blackwell_mma",
       "RTX 50: mma",
       {to_f32(fp8, 25, 32, kModel), to_f16(fp8, 25, 32, kNone), to_f32(halves, 25, 16, kNone),
        to_f16(half, 25, 16, kNone)}},
      {"b200_mma_sync", "B200: mma.sync, FP8", {rounded_once(fp8, true, Accumulation::kExact, 0, 32, kGpu)}},
      {"amd_cdna3_mfma",
       "MI300: mfma",
       {rounded_once(fnuz, true, Accumulation::kCdna3Split, 24, 16, kModel),
        rounded_once(halves, false, Accumulation::kCdna3, 24, 8, kModel),
        rounded_once(tf32, false, Accumulation::kCdna3, 24, 4, kNone)}},
  };
}

struct Alias {
  std::string_view name;
  Format format;
};
constexpr Alias kCdna3Types[] = {{"fp8", Format::kE4M3Fnuz}, {"bf8", Format::kE5M2Fnuz}, {"xf32", Format::kTF32}};

std::string combinations(const Unit& unit) {
  std::vector<std::string> rows;
  for (const UnitRow& row : unit.rows) {
    std::vector<std::string_view> operands;
    operands.reserve(row.operands.size());
    for (const Format format : row.operands) operands.push_back(name(format));
    rows.push_back(fmt::format("{}{} -> {}", fmt::join(operands, row.mixed ? "|" : ", "),
                               row.mixed ? " (any pair)" : "", name(row.d)));
  }
  return fmt::format("{}", fmt::join(rows, "; "));
}

bool covers(const UnitRow& row, Format a, Format b, Format d) {
  const auto has = [&row](Format format) {
    return std::find(row.operands.begin(), row.operands.end(), format) != row.operands.end();
  };
  return has(a) && has(b) && (row.mixed || a == b) && row.d == d;
}

}  // namespace

std::span<const Unit> units() {
  static const std::vector<Unit> table = make_units();
  return table;
}

const Unit& find_unit(std::string_view name) {
  std::vector<std::string> names;
  names.reserve(units().size());
  for (const Unit& unit : units()) names.push_back(unit.name);
  return units()[require_name("unit", name, names)];
}

Format find_operand_type(const Unit& unit, std::string_view type) {
  std::vector<std::string> names = format_names();
  const std::size_t plain = names.size();
  if (unit.name == "amd_cdna3_mfma")
    for (const Alias& alias : kCdna3Types) names.emplace_back(alias.name);
  const std::size_t index = require_name("type", type, names);
  return index < plain ? *find_format(names[index]) : kCdna3Types[index - plain].format;
}

const UnitRow& find_row(const Unit& unit, Format a, Format b, Format d) {
  for (const UnitRow& row : unit.rows)
    if (covers(row, a, b, d)) return row;
  core::fail_input("unit {} has no {} x {} -> {}; it has: {}", unit.name, name(a), name(b), name(d),
                   combinations(unit));
}

MmaRule rule_of(const Unit& unit, Format a, Format b, Format d) {
  const UnitRow& row = find_row(unit, a, b, d);
  MmaRule rule;
  rule.a = a;
  rule.b = b;
  rule.d = d;
  rule.accumulation = row.accumulation;
  rule.fraction_bits = row.fraction_bits;
  rule.step_k = row.step_k;
  rule.output_grid = row.output_grid;
  rule.output_rounding = row.output_rounding;
  rule.zero_exponent = row.zero_exponent;
  rule.least_alignment = row.least_alignment;
  if (d == Format::kF16) rule.nan_code = 0x7fffu;
  return rule;
}

const GemmPolicy& find_gemm_policy(std::string_view name) {
  static const std::vector<GemmPolicy> policies{{"fp8-h800", "hopper_wgmma", Format::kE4M3},
                                                {"bf16-h800", "hopper_wgmma", Format::kBF16},
                                                {"f16-h800", "hopper_wgmma", Format::kF16}};
  std::vector<std::string> names;
  names.reserve(policies.size());
  for (const GemmPolicy& policy : policies) names.push_back(policy.name);
  return policies[require_name("numerics", name, names)];
}

std::string_view to_string(Evidence evidence) {
  switch (evidence) {
    case Evidence::kGpuRecords:
      return "GPU records";
    case Evidence::kModelVectors:
      return "model vectors";
    case Evidence::kUnverified:
      break;
  }
  return "unverified";
}

std::string_view to_string(Accumulation accumulation) {
  switch (accumulation) {
    case Accumulation::kTruncated:
      return "truncated";
    case Accumulation::kCdna3:
      return "cdna3";
    case Accumulation::kCdna3Split:
      return "cdna3_split";
    case Accumulation::kFp16Halves:
      return "fp16_halves";
    case Accumulation::kExact:
      break;
  }
  return "exact";
}

std::span<const UnitVariant> unit_variants() {
  static constexpr UnitVariant kVariants[] = {
      {"zero_in_e", "a zero operand and a zero c have exponent -126 and take part in E (MMA-Sim, commit c785138)", -126,
       std::nullopt},
      {"clamped_e", "E is at least -133", std::nullopt, -133}};
  return kVariants;
}

Unit with_variants(const Unit& unit, std::string_view names) {
  Unit result = unit;
  result.name = fmt::format("{}+{}", unit.name, names);
  std::vector<std::string> known;
  for (const UnitVariant& variant : unit_variants()) known.emplace_back(variant.name);
  while (!names.empty()) {
    const std::size_t plus = std::min(names.find('+'), names.size());
    const UnitVariant& variant = unit_variants()[require_name("variant", names.substr(0, plus), known)];
    names.remove_prefix(std::min(plus + 1, names.size()));
    bool applied = false;
    for (UnitRow& row : result.rows) {
      if (row.accumulation != Accumulation::kTruncated) continue;
      if (variant.zero_exponent) row.zero_exponent = variant.zero_exponent;
      if (variant.least_alignment) row.least_alignment = variant.least_alignment;
      applied = true;
    }
    if (!applied) core::fail_input("unit {} does not truncate: it has no variant {}", unit.name, variant.name);
  }
  return result;
}

}  // namespace lastbit::numerics

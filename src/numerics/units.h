// The tensor cores of the field as one table of parameter sets.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "numerics/mma.h"

namespace lastbit::numerics {

// What a row of the table has been held to, bit for bit.
enum class Evidence : std::uint8_t {
  kGpuRecords,  // records captured on the GPU: by Khattak and Mikaitis (arXiv 2512.07004), or by us, data/measurements
  kModelVectors,  // vectors of MMA-Sim (arXiv 2511.10909) at commit c785138
  kUnverified,    // the sources' rule, without vectors here
};

// Operand types that a unit multiplies by one rule: every pair of `operands`, or equal types only.
struct UnitRow {
  std::vector<Format> operands;
  bool mixed;  // whether a and b may differ
  Accumulation accumulation;
  int fraction_bits;
  int step_k;
  Format d;  // of c and d
  Format output_grid;
  Rounding output_rounding;
  Evidence evidence;
  std::optional<int> zero_exponent = std::nullopt;    // as in MmaRule
  std::optional<int> least_alignment = std::nullopt;  // as in MmaRule
};

struct Unit {
  std::string name;      // "hopper_wgmma"
  std::string hardware;  // "H100, H200, H800: wgmma"
  std::vector<UnitRow> rows;
  std::string provenance = {};  // of a unit that a user defines: what its file says
};

[[nodiscard]] std::span<const Unit> units();

// Errors: an unknown name is bad input; the message lists a suggestion or the names.
[[nodiscard]] const Unit& find_unit(std::string_view name);

// An operand or accumulator type by the name that the unit's instructions use: a format's own name, and for CDNA3 also
// fp8 (E4M3FNUZ), bf8 (E5M2FNUZ) and xf32 (TF32). Errors: an unknown name is bad input, with a suggestion.
[[nodiscard]] Format find_operand_type(const Unit& unit, std::string_view name);

// The table's row for these operand types and accumulator. Errors: a combination that the unit does not have is bad
// input; the message lists what it has.
[[nodiscard]] const UnitRow& find_row(const Unit& unit, Format a, Format b, Format d);
[[nodiscard]] MmaRule rule_of(const Unit& unit, Format a, Format b, Format d);

// The unit and operand type behind a --numerics policy of a GEMM: fp8-h800 (E4M3), bf16-h800, f16-h800. Errors: an
// unknown name is bad input, with a suggestion.
struct GemmPolicy {
  std::string name;
  std::string unit;
  Format operand;
};
[[nodiscard]] const GemmPolicy& find_gemm_policy(std::string_view name);

[[nodiscard]] std::string_view to_string(Evidence evidence);
[[nodiscard]] std::string_view to_string(
    Accumulation accumulation);  // truncated, cdna3, cdna3_split, exact, fp16_halves

// A reading of a question that sources leave open (mma.h), by name: what it changes in a rule of kTruncated.
struct UnitVariant {
  std::string_view name;
  std::string_view meaning;
  std::optional<int> zero_exponent;
  std::optional<int> least_alignment;
};
[[nodiscard]] std::span<const UnitVariant> unit_variants();

// The unit with the variants applied to its rows of kTruncated; `names` separated by '+', as in zero_in_e+clamped_e.
// Its name is "unit+variants" then. Errors: an unknown name is bad input, and so is a unit without such a row.
[[nodiscard]] Unit with_variants(const Unit& unit, std::string_view names);

}  // namespace lastbit::numerics

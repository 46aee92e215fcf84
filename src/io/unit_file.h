// Tensor-core units that a user defines in a file, and the one place where a unit is found by what was typed.
#pragma once

#include <string>
#include <vector>

#include "numerics/units.h"

namespace lastbit::io {

// Units of a TOML or JSON file, in its terms:
//   [[unit]]  name, hardware (optional), provenance (optional), and rows:
//   [[unit.row]]
//   operands         formats that are multiplied: e4m3, e5m2, e4m3fnuz, e5m2fnuz, e2m1, e5m6, f16, bf16, tf32
//   mixed            whether a and b may differ (default false)
//   accumulation     truncated (default), exact, cdna3, cdna3_split, fp16_halves: see numerics/mma.h
//   fraction_bits    F, 0 to 35; not for exact
//   step_k           elements of K a step, 1 to 64
//   d                f32 (default) or f16
//   output_grid      f32, e8m13 or tf32 for d = f32 (default f32), f16 for f16
//   output_rounding  zero (default) or nearest
//   zero_exponent, least_alignment   optional: the open readings of numerics/mma.h, -1000 to 1000
// Errors: a missing or malformed file, an unknown key and a value out of range are bad input that names file and key;
// so is a file without a unit, or with two of one name.
[[nodiscard]] std::vector<numerics::Unit> load_units(const std::string& path);

// The unit as such a file in TOML, without what its defaults say; load_units() gives it back (its evidence aside).
[[nodiscard]] std::string unit_toml(const numerics::Unit& unit);

// "hopper_wgmma"; "my_units.toml", of one unit; "my_units.toml:name"; any of them with variants:
// "hopper_wgmma+zero_in_e". Errors: as load_units, and unknown names.
[[nodiscard]] numerics::Unit find_unit(const std::string& name_or_file);

// The rule of the unit's row for operands and accumulator of these types, as numerics::find_operand_type() names them.
// Errors: as find_unit(), and types that the unit does not have.
[[nodiscard]] numerics::MmaRule find_rule(const std::string& unit, const std::string& a_type, const std::string& b_type,
                                          const std::string& d_type);
// The same for a GEMM: `policy` (numerics::find_gemm_policy) says what is left empty.
[[nodiscard]] numerics::MmaRule find_gemm_rule(const std::string& policy, const std::string& unit,
                                               const std::string& a_type, const std::string& b_type);

}  // namespace lastbit::io

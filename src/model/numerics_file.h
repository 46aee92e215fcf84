// Numerics policies that a user defines in a file, and the one place where a policy is found by what was typed.
#pragma once

#include <string>

#include "ops/numerics.h"

namespace lastbit::model {

// "fp8-h800", or "my_policy.toml", in whose terms:
//   base          a named policy that the file starts from (required)
//   unit          of the FP8 products: a unit's name, or a file of units as io::find_unit takes it
//   promotion     deepgemm, cublas, muladd
//   every         elements of K between promotions
//   wgrad_input   requantised or values
//   attention_output_e5m6, fp8_swiglu_cache, bf16_attention_weights    true or false
//   [activation] [weight] [gradient]    of the FP8 products:
//     format      e4m3 or e5m2
//     tile        1x128, 128x128, 1x32, row, tensor, ...
//     scale       fp32 or ue8m0
//     method      division or reciprocal
//     zero_block  one or epsilon
//     amax_epsilon
//     delayed_steps  of tile "tensor": the scale comes from so many steps before; 0: from the tensor itself
// A key changes that one thing in all FP8 linear layers of the base. Errors: bad input that names the file and the key;
// FP8 keys over a base without FP8 products.
[[nodiscard]] ops::Numerics find_numerics(const std::string& name_or_file);

}  // namespace lastbit::model

// Products of codes that come from outside, in files or in somebody's arrays: every dtype and shape is checked here,
// then numerics/gemm.h, numerics/grouped_gemm.h and numerics/mma.h do the work.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "numerics/gemm.h"
#include "tensor/tensor.h"

namespace lastbit::tensor {

// An array of a request. Its name (a file's, a parameter's) starts every message about it.
struct NamedArray {
  std::string name;
  std::optional<Tensor> tensor = {};

  [[nodiscard]] bool given() const { return tensor.has_value(); }
  [[nodiscard]] Tensor contiguous() const { return tensor.value().contiguous(); }
};

// D = A B^T, or each row of A with the B of its group. Dtypes of codes as code_matrix() takes them.
struct GemmRequest {
  NamedArray a;                  // codes [M, K]; masked groups: [groups, M, K]
  NamedArray b;                  // codes [N, K]; groups: [groups, N, K]
  NamedArray scale_a;            // F32 (or its bits as U32), one a tile, both or none: 1
  NamedArray scale_b;            // groups: [groups, ...]
  NamedArray c;                  // D = C + A B^T
  NamedArray group_of_row;       // contiguous groups: I32 or I64 [M], -1 for none
  NamedArray rows_of_group;      // masked groups: I32 or I64 [groups]
  std::string role = "nt";       // nt; nn: B lies as [K, N]; tn: A too, as [K, M]
  std::string tile_a = "1x128";  // as numerics::find_scale_tile()
  std::string tile_b = "128x128";
  std::string promotion = {};  // none, deepgemm, cublas, muladd; "": deepgemm with scales, none without
  std::int64_t promote_every = numerics::kScaleBlock;
  std::string d_type = "f32";  // f32, bf16 or f16
};

// D in `d_type`: [M, N], masked groups [groups, M, N]. Bits and rounding as numerics::gemm(). Errors (bad input): names
// that are not known, dtypes and shapes that do not go together, scales that are not positive and finite, and those of
// numerics::gemm().
[[nodiscard]] Tensor multiply_codes(const numerics::MmaRule& rule, const GemmRequest& request);

// Independent dots: d[i] = a[i, :] . b[i, :] + c[i] for a and b [n, K] codes of the rule; c [n] codes of rule.d, or not
// given: +0. The result is d's codes [n] in code_dtype(rule.d). Errors (bad input): dtypes and shapes.
[[nodiscard]] Tensor multiply_records(const numerics::MmaRule& rule, const NamedArray& a, const NamedArray& b,
                                      const NamedArray& c);

}  // namespace lastbit::tensor

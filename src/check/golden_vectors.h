// Golden vectors for other people's kernels: inputs of adversarial families, the results of the reference, and every
// parameter beside them, so that a file can be used without Lastbit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "check/input_families.h"
#include "io/hdf5.h"
#include "numerics/gemm.h"
#include "numerics/quantize.h"
#include "numerics/units.h"
#include "tensor/tensor.h"

namespace lastbit::check {

enum class GoldenOp : std::uint8_t {
  kGemm,         // "gemm": D [M, N] = A [M, K] B [N, K]^T; shapes MxNxK
  kGroupedGemm,  // "grouped_gemm": rows of A meet the B of their group, both layouts; shapes MxNxK
  kMma,          // "mma": d [n] = a [n, K] . b [n, K] + c [n]; shapes nxK
  kQuantize,     // "quantize": x [rows, cols] to codes and scales; shapes ROWSxCOLS
  kCast,         // "cast": x [n] to codes; shapes n
};

// Errors: an unknown name is bad input, with a suggestion.
[[nodiscard]] GoldenOp find_golden_op(std::string_view name);

struct GoldenRequest {
  GoldenOp op = GoldenOp::kGemm;
  std::vector<std::vector<std::int64_t>> shapes;
  std::vector<InputFamily> families;  // empty: all that the operation takes
  std::uint64_t seed = 1;

  // gemm, grouped_gemm, mma
  numerics::Unit unit;
  numerics::Format a = numerics::Format::kE4M3;
  numerics::Format b = numerics::Format::kE4M3;
  // of C and D: the accumulator of mma, the output of the others
  numerics::Format d = numerics::Format::kF32;
  // gemm, grouped_gemm; with promotion operands have scales, one for 1 x 128 of A and 128 x 128 of B
  numerics::Promotion promotion{};
  std::int64_t groups = 4;  // grouped_gemm

  // quantize: rule.format too; `tile` as find_scale_tile() takes it. cast: rule.format alone.
  numerics::QuantizeRule rule{};
  std::string tile = "1x128";
};

struct GoldenVectors {
  tensor::NamedTensors tensors;  // "gemm/all_codes/64x64x128/a"
  io::ObjectAttributes attributes;
};

// One case for each family and shape. Errors (bad input): shapes of another rank than the operation's, a family that it
// refuses, and the errors of the operation itself.
[[nodiscard]] GoldenVectors make_golden(const GoldenRequest& request);

}  // namespace lastbit::check

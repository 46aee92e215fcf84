// The arithmetic that operators follow: one value, passed to every operator, with the same names everywhere.
//
// Three things are chosen: what values are rounded to between operators, what each product of a linear layer does with
// its operands and its sum, and what is kept for the backward pass. Everything else (norms, rotary embedding, softmax,
// activations, losses) runs in FP32, or in FP64 under fp64, by the rules of its operator.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "numerics/quantize.h"
#include "tensor/tensor.h"

namespace lastbit::ops {

// What operators' results are rounded to (nearest even). BF16 values are held in FP32 tensors.
enum class Values : std::uint8_t { kF64, kF32, kBF16 };

// How one operand of a product becomes codes.
struct OperandNumerics {
  numerics::Format format = numerics::Format::kBF16;  // kBF16, or an 8-bit format with `quantize`
  std::string tile;                                   // of 8-bit formats: find_scale_tile's names; "" without scales
  numerics::QuantizeRule rule;                        // its format and tile are those above
  std::size_t delayed_steps = 0;                      // of tile "tensor": the scale comes from so many steps before

  [[nodiscard]] bool scaled() const { return !tile.empty(); }
};

// One product of a linear layer on a tensor core. Tiles lie along the product's own K: wgrad's 1x128 is 128x1 of the
// activations.
struct ProductNumerics {
  OperandNumerics left;   // fprop: x; dgrad, wgrad: the output's gradient
  OperandNumerics right;  // fprop, dgrad: the weight; wgrad: x
  numerics::MmaRule rule;
  numerics::Promotion promotion;
};

// Where wgrad takes x from when fprop has quantised it: dequantised from fprop's codes and quantised again along the
// tokens (the DeepSeek-V3 report, section 3.5.2), or quantised from the values that fprop saw.
enum class WgradInput : std::uint8_t { kRequantised, kFromValues };

// The three products of one kind of linear layer. Without a tensor core each output is one chain of FMAs in the
// precision of the values (numerics/matmul.h), of operands as they are.
struct LinearNumerics {
  bool tensor_core = false;
  ProductNumerics fprop;
  ProductNumerics dgrad;
  ProductNumerics wgrad;
  WgradInput wgrad_input = WgradInput::kRequantised;
  bool e5m6_cache = false;  // x is kept for the backward pass in E5M6, one power-of-two scale a 1 x 128 tile
};

struct Numerics {
  std::string name = "fp32";
  Values values = Values::kF32;
  LinearNumerics projection;        // attention projections, dense FFN, shared experts
  LinearNumerics attention_output;  // o_proj
  LinearNumerics expert_in;         // gate and up of routed experts, behind dispatch
  LinearNumerics expert_down;       // their down projection; its output's gradient comes through dispatch
  LinearNumerics router;
  LinearNumerics head;                  // and MTP's eh_proj
  bool fp8_swiglu_cache = false;        // routed experts keep gate's and up's results in E4M3, 1 x 128
  bool bf16_attention_weights = false;  // softmax weights are rounded to BF16 before they meet the values
};

// The dtype of tensors that hold values: F64 under fp64, else F32.
[[nodiscard]] tensor::DType value_dtype(const Numerics& numerics);

// Rounds values to what operators exchange: nothing to do for kF64 and kF32, in place for kBF16.
void settle(tensor::Tensor& x, const Numerics& numerics);

// The policy of this name (policies.cc says what each does). Errors: another name is bad input, with a suggestion.
[[nodiscard]] Numerics numerics_by_name(const std::string& name);
[[nodiscard]] std::vector<std::string> policy_names();
// One line on what the policy is.
[[nodiscard]] std::string describe_policy(const std::string& name);

}  // namespace lastbit::ops

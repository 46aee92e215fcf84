// Every operator by name, with its inputs, settings and results in words, ready to run on arrays from a file: the
// smallest reference that somebody with a kernel can ask for.
//
// Everything that reaches an operator from outside is checked here, so that bad input is one line and never an internal
// error: operators themselves only guard against programmers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace lastbit::check {

class OpArguments;

// What an input's elements may be.
enum class OpElements : std::uint8_t {
  kFloat,   // finite, F32 or F64: one dtype for all such inputs of a call, and the dtype of its results
  kLogits,  // the same, or -inf
  kSingle,  // finite F32
  kDouble,  // finite F64
  kIndex,   // I64
  kOther,   // the operator's own choice: `meaning` says which
};

struct OpInput {
  std::string name;
  OpElements elements;
  // "[tokens, d]": a name stands for one size wherever it appears in the operator, "name+1" for one more, "..." in
  // front for any axes, the same everywhere, a number for itself. No array is empty.
  std::string shape;
  std::string meaning;
  bool required = true;
};

enum class OpSettingKind : std::uint8_t { kWhole, kNumber, kFlag, kChoice, kText };

struct OpSetting {
  std::string key;
  OpSettingKind kind;
  std::string fallback;  // what holds where it is not given; "": `meaning` says what, or that it is required
  std::string meaning;
  double least = 0;  // of kWhole (magnitudes below 2^53) and kNumber
  double most = 0;
  std::vector<std::string> choices;  // of kChoice
};

struct OpOutput {
  std::string name;
  std::string shape;
  std::string meaning;  // gradients: of which input they want the upstream gradient
};

struct OpEntry {
  std::string name;
  std::string description;
  std::vector<OpInput> inputs;
  std::vector<OpSetting> settings;
  std::vector<OpOutput> outputs;
  tensor::NamedTensors (*run)(const OpArguments& in);
};

// By name, in the order in which they are listed: from a model's input to its loss, then training and sampling.
[[nodiscard]] const std::vector<OpEntry>& op_registry();

// Errors (bad input): no such operator, with a suggestion.
[[nodiscard]] const OpEntry& find_op(const std::string& name);

using OpSettings = std::map<std::string, std::string>;

// Beside each operator's own settings: "cast" (f32 or f64) widens float inputs of fewer bits to that type and integers
// to I64, all exactly.
[[nodiscard]] const OpSetting& cast_setting();

// Runs `op`. Results have the names of op.outputs; gradients come where their upstream gradient is among the inputs.
// Errors (bad input), each with what was found and expected: an input or setting that is unknown (with a suggestion) or
// missing, a dtype, a shape, a size that does not fit another input's, an empty array, a value that is not finite or an
// index out of range, a setting that cannot be read or is out of range, settings that do not go together, and finite
// inputs that end in a NaN.
[[nodiscard]] tensor::NamedTensors run_op(const OpEntry& op, const tensor::NamedTensors& inputs,
                                          const OpSettings& settings);

}  // namespace lastbit::check

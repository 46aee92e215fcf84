// What a kernel promises: an operator, the arrays it reads and writes, the settings of its arithmetic, and how far its
// results may be from the reference, with the reason for every bound.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "check/op_registry.h"
#include "tensor/tensor.h"

namespace lastbit::check {

enum class ToleranceClass : std::uint8_t {
  kBitwise,  // the same bits; a NaN matches any NaN
  kUlp,      // at most max_ulp steps between neighbouring codes; infinities and NaNs as above
  kBand,     // |candidate - reference| <= the bound of that element, which comes with the reference
};

struct ContractArray {
  std::string name;
  std::string dtype;  // a dtype's name, or the setting that says it: "=a_type"
  std::string shape;  // "[M, K]"
  std::string meaning;
};

struct ContractOutput {
  ContractArray array;
  ToleranceClass tolerance = ToleranceClass::kBitwise;
  std::uint64_t max_ulp = 0;
  std::string derivation;  // why this class and this bound
};

// The value of every setting of a contract. Faults are settings that no user may give: departures that a diagnosis
// tries, such as "k_kept" of a GEMM.
class ContractSettings {
 public:
  ContractSettings() = default;
  explicit ContractSettings(OpSettings values) : values_(std::move(values)) {}

  [[nodiscard]] const std::string& text(const std::string& key) const;
  [[nodiscard]] std::int64_t whole(const std::string& key) const;
  [[nodiscard]] double number(const std::string& key) const;
  [[nodiscard]] bool flag(const std::string& key) const { return text(key) == "true"; }
  [[nodiscard]] std::string fault(const std::string& key) const;  // "" where there is none
  [[nodiscard]] ContractSettings with(const OpSettings& changes) const;
  [[nodiscard]] const OpSettings& values() const { return values_; }

 private:
  OpSettings values_;
};

// What inputs are drawn from. The same request gives the same bytes on every machine.
struct DrawRequest {
  std::string family;
  tensor::Shape sizes;  // one for each axis of the contract
  std::uint64_t seed = 1;
  const ContractSettings& settings;

  [[nodiscard]] std::int64_t size(std::size_t axis) const { return sizes[axis]; }
};

struct Expected {
  tensor::Tensor value;
  tensor::Tensor bound = tensor::Tensor::empty(tensor::DType::kF32, {0});  // kBand: F32, the shape of `value`
};
using ExpectedOutputs = std::map<std::string, Expected>;

// A departure that kernels are known for, as settings that would give its results.
struct Alternative {
  std::string meaning;  // "promotion cublas", "scales ignored": completes "the candidate matches ..."
  OpSettings changes;
};

struct Contract {
  std::string name;
  std::string description;
  std::vector<std::string> axes = {};  // what a shape's sizes are: M, N, K
  std::vector<ContractArray> inputs = {};
  std::vector<ContractOutput> outputs = {};
  std::vector<OpSetting> settings = {};
  std::vector<tensor::Shape> shapes = {};  // tried when a user names none
  std::vector<std::string> families = {};

  // Errors (bad input): sizes or settings that do not go together.
  tensor::NamedTensors (*draw)(const DrawRequest& request) = nullptr;
  // Inputs are those of draw(), or a user's of the same dtypes and shapes. Errors (bad input): as the operator.
  ExpectedOutputs (*expect)(const tensor::NamedTensors& inputs, const ContractSettings& settings) = nullptr;
  // Most likely first.
  std::vector<Alternative> (*alternatives)(const ContractSettings& settings) = nullptr;
  // A part of a large case that is quicker to diagnose, around an element of the output; may be null.
  struct Part {
    tensor::NamedTensors inputs;
    tensor::NamedTensors outputs;  // of the candidate
  };
  Part (*narrow)(const tensor::NamedTensors& inputs, const tensor::NamedTensors& outputs,
                 std::int64_t element) = nullptr;
};

// By name, from matrix products to the optimiser.
[[nodiscard]] const std::vector<Contract>& contract_registry();
// Errors (bad input): no such contract, with a suggestion.
[[nodiscard]] const Contract& find_contract(const std::string& name);

// Every setting of the contract: as given, or what holds without. Errors (bad input): an unknown key, with a
// suggestion, and a value that cannot be read or is out of range.
[[nodiscard]] ContractSettings contract_settings(const Contract& contract, const OpSettings& given);

// Errors (bad input): another number of sizes than axes, a size that is not within 1 to 2^24, more than 2^33 elements.
void require_sizes(const Contract& contract, const tensor::Shape& sizes);
// Errors (bad input): a family that the contract does not have, with a suggestion.
void require_family(const Contract& contract, const std::string& family);

[[nodiscard]] std::string describe_tolerance(const ContractOutput& output);  // "bitwise", "1 ulp", "band"
// One line on a family of input_families() or of a contract's own.
[[nodiscard]] std::string describe_family(const std::string& family);

}  // namespace lastbit::check

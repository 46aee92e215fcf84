// Something that claims to fulfil a contract: a name, what it supports, and a way to run it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "check/contract.h"

namespace lastbit::check {

struct OutputSpec {
  std::string name;
  tensor::DType dtype;
  tensor::Shape shape;
};

// One call. Outputs are the reference's in dtype and shape.
struct KernelCall {
  const Contract& contract;
  const ContractSettings& settings;
  const tensor::NamedTensors& inputs;
  std::vector<OutputSpec> outputs;
  std::string case_name;  // "all_codes/64x128x256", for implementations that have answered already
};

enum class RunStatus : std::uint8_t {
  kRan,
  kUnsupported,  // it says that these sizes or settings are none of its own
  kFailed,       // it said so, or ended its process
  kCrashed,
  kTimedOut,
};

struct KernelRun {
  RunStatus status = RunStatus::kRan;
  std::string message;  // of what is not kRan, in one line
  // Results of one run or of two on the same inputs. Before a run every byte of an output was fill[run].
  std::vector<tensor::NamedTensors> results;
  std::vector<unsigned char> fill;
  std::vector<std::string> violations;  // memory that was touched and is none of the call's, one line each
  double seconds = 0;                   // of the shortest run
};

struct Implementation {
  std::string name;
  std::string description;
  std::function<bool(const Contract&)> supports;
  std::function<KernelRun(const KernelCall&)> run;
};

// Those that come with Lastbit: "reference" (every contract) and "plain" (products, one scalar step after the other).
[[nodiscard]] const std::vector<Implementation>& implementation_registry();
// Errors (bad input): no such implementation, with a suggestion.
[[nodiscard]] const Implementation& find_implementation(const std::string& name);

}  // namespace lastbit::check

// A kernel held against its contract: cases of every family and shape, what each shows, and why.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "check/contract.h"
#include "check/implementation.h"
#include "check/verdict.h"

namespace lastbit::check {

struct ValidationRequest {
  const Contract* contract = nullptr;
  ContractSettings settings;
  std::vector<std::string> families;  // empty: all of the contract's
  std::vector<tensor::Shape> shapes;  // empty: the contract's own
  std::uint64_t seed = 1;
  std::optional<tensor::Tolerance> tolerance;  // instead of the contract's; not kNorm
  bool diagnose = true;
};

// One case of a request, in the order in which they run: shapes within families.
struct CaseId {
  std::string family;
  tensor::Shape sizes;

  [[nodiscard]] std::string name() const;  // "all_codes/64x128x256"
};
// Errors (bad input): families or sizes that the contract does not have.
[[nodiscard]] std::vector<CaseId> cases_of(const ValidationRequest& request);

enum class FindingKind : std::uint8_t {
  kValues,            // results beyond the tolerance
  kUninitialised,     // elements that were never written
  kNondeterministic,  // two runs on the same inputs differ
  kMemory,            // memory outside an output was written, or memory outside the arrays read
  kCrash,
  kHang,
  kError,  // it says that it failed, or has no such output
};
[[nodiscard]] std::string_view to_string(FindingKind kind);

struct Finding {
  FindingKind kind;
  std::string text;
};

struct CaseReport {
  CaseId id;
  bool skipped = false;
  std::string skip_reason;
  std::vector<Finding> findings;  // none: passed
  std::vector<OutputVerdict> outputs;
  double reference_s = 0;
  double candidate_s = 0;

  [[nodiscard]] bool passed() const { return !skipped && findings.empty(); }
  [[nodiscard]] bool failed() const { return !findings.empty(); }
};

// In how many cases the comparison rejects wrong results, of those where it can (PowerCheck::possible).
struct OutputPower {
  std::string output;
  std::int64_t cases = 0;
  std::int64_t zeros = 0;
  std::int64_t one_element = 0;
  std::int64_t wrong_scale = 0;

  [[nodiscard]] bool enough() const { return cases == 0 || (zeros > 0 && one_element > 0 && wrong_scale > 0); }
};

struct Validation {
  const Contract* contract = nullptr;
  ContractSettings settings;
  std::string implementation;
  std::uint64_t seed = 1;
  std::vector<CaseReport> cases;
  std::vector<OutputPower> power;
  std::vector<std::string> causes;  // most telling first
  double seconds = 0;

  [[nodiscard]] std::int64_t count(bool (CaseReport::*is)() const) const;
  [[nodiscard]] std::int64_t skipped() const;
  // Every case that ran passed, at least one did, and the comparison has power over every output.
  [[nodiscard]] bool passed() const;
};

// `progress` (may be empty) is told the number of cases done and to do. Errors (bad input): as cases_of(), a setting
// that the reference refuses, an implementation that does not support the contract.
[[nodiscard]] Validation validate(const ValidationRequest& request, const Implementation& implementation,
                                  const std::function<void(std::int64_t done, std::int64_t of)>& progress = {});

}  // namespace lastbit::check

#include "check/validation.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>

#include "check/diagnosis.h"
#include "core/error.h"

namespace lastbit::check {
namespace {

using tensor::NamedTensors;
using tensor::Tensor;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostDiagnosed = 4;           // failed cases that a diagnosis looks at
constexpr std::size_t kMostKeptBytes = 256u << 20;  // of one of them

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

std::vector<OutputSpec> specs_of(const ExpectedOutputs& expected) {
  std::vector<OutputSpec> specs;
  for (const auto& [name, output] : expected) specs.push_back({name, output.value.dtype(), output.value.shape()});
  return specs;
}

std::string place_of(const Tensor& tensor, std::int64_t element) {
  tensor::Shape coordinates(tensor.shape().size());
  for (std::size_t axis = coordinates.size(); axis-- > 0;) {
    coordinates[axis] = element % tensor.shape()[axis];
    element /= tensor.shape()[axis];
  }
  return tensor::to_string(coordinates);
}

// What two runs over different fills show of one output.
void compare_runs(const KernelRun& run, const std::string& name, const Tensor& reference,
                  std::vector<Finding>& findings) {
  if (run.results.size() < 2 || !run.results[0].contains(name) || !run.results[1].contains(name)) return;
  const Tensor& first = run.results[0].at(name);
  const Tensor& second = run.results[1].at(name);
  const std::size_t width = tensor::size_of(first.dtype());
  if (first.dtype() != second.dtype() || first.shape() != second.shape()) {
    findings.push_back({FindingKind::kNondeterministic,
                        fmt::format("{}: {} {} in one run and {} {} in another on the same inputs", name,
                                    tensor::name(first.dtype()), tensor::to_string(first.shape()),
                                    tensor::name(second.dtype()), tensor::to_string(second.shape()))});
    return;
  }
  if (first.nbytes() != reference.nbytes() ||
      std::memcmp(first.bytes().data(), second.bytes().data(), first.nbytes()) == 0)
    return;
  std::int64_t unwritten = 0;
  std::int64_t differing = 0;
  std::int64_t first_unwritten = -1;
  std::int64_t first_differing = -1;
  const auto filled = [&](const Tensor& tensor, std::int64_t i, unsigned char fill) {
    const std::byte* const at = tensor.bytes().data() + static_cast<std::size_t>(i) * width;
    return std::all_of(at, at + width, [&](std::byte b) { return b == std::byte{fill}; });
  };
  for (std::int64_t i = 0; i < first.size(); ++i) {
    const std::size_t at = static_cast<std::size_t>(i) * width;
    if (std::memcmp(first.bytes().data() + at, second.bytes().data() + at, width) == 0) continue;
    if (filled(first, i, run.fill[0]) && filled(second, i, run.fill[1])) {
      if (unwritten++ == 0) first_unwritten = i;
    } else if (differing++ == 0) {
      first_differing = i;
    }
  }
  if (unwritten > 0)
    findings.push_back({FindingKind::kUninitialised,
                        fmt::format("{}: {} of {} elements are never written, the first at {} of {}", name, unwritten,
                                    first.size(), place_of(first, first_unwritten), tensor::to_string(first.shape()))});
  if (differing > 0)
    findings.push_back(
        {FindingKind::kNondeterministic,
         fmt::format("{}: {} of {} elements differ between two runs on the same inputs (over other memory), the first "
                     "at {}",
                     name, differing, first.size(), place_of(first, first_differing))});
}

std::string describe_verdict(const OutputVerdict& verdict) {
  if (!verdict.difference.empty()) return fmt::format("{}: {}", verdict.output, verdict.difference);
  const tensor::ElementPair& pair = verdict.first_nonfinite ? *verdict.first_nonfinite : *verdict.first;
  return fmt::format(
      "{}: {} of {} elements beyond {}{}; {} reference {} ({}), candidate {} ({})", verdict.output, verdict.mismatches,
      verdict.elements, verdict.tolerance,
      verdict.nonfinite_mismatches > 0 ? fmt::format(", {} of them not finite", verdict.nonfinite_mismatches) : "",
      tensor::to_string(pair.coordinates), pair.reference_bits, pair.reference_value, pair.candidate_bits,
      pair.candidate_value);
}

class Validator {
 public:
  Validator(const ValidationRequest& request, const Implementation& implementation)
      : request_(request), contract_(*request.contract), implementation_(implementation) {
    validation_.contract = request.contract;
    validation_.settings = request.settings;
    validation_.implementation = implementation.name;
    validation_.seed = request.seed;
    for (const ContractOutput& output : contract_.outputs) validation_.power.push_back({output.array.name});
  }

  Validation run(const std::function<void(std::int64_t, std::int64_t)>& progress) {
    const auto begin = Clock::now();
    const std::vector<CaseId> ids = cases_of(request_);
    for (const CaseId& id : ids) {
      if (progress) progress(std::ssize(validation_.cases), std::ssize(ids));
      run_case(id);
    }
    if (progress) progress(std::ssize(ids), std::ssize(ids));
    if (request_.diagnose) diagnose();
    validation_.seconds = seconds_since(begin);
    return std::move(validation_);
  }

 private:
  void run_case(const CaseId& id) {
    CaseReport report;
    report.id = id;
    FailedCase kept;
    kept.name = id.name();
    kept.inputs = contract_.draw({id.family, id.sizes, request_.seed, request_.settings});
    const auto begin = Clock::now();
    kept.expected = contract_.expect(kept.inputs, request_.settings);
    report.reference_s = seconds_since(begin);
    KernelRun run =
        implementation_.run({contract_, request_.settings, kept.inputs, specs_of(kept.expected), kept.name});
    report.candidate_s = run.seconds;
    switch (run.status) {
      case RunStatus::kUnsupported:
        report.skipped = true;
        report.skip_reason = run.message;
        break;
      case RunStatus::kFailed:
        report.findings.push_back({FindingKind::kError, run.message});
        break;
      case RunStatus::kCrashed:
        report.findings.push_back({run.violations.empty() ? FindingKind::kCrash : FindingKind::kMemory, run.message});
        break;
      case RunStatus::kTimedOut:
        report.findings.push_back({FindingKind::kHang, run.message});
        break;
      case RunStatus::kRan:
        for (const std::string& violation : run.violations)
          report.findings.push_back({FindingKind::kMemory, violation});
        judge_results(run, kept, report);
        break;
    }
    const bool wrong = std::ranges::any_of(report.outputs, [](const OutputVerdict& v) { return !v.match(); });
    if (wrong) keep(std::move(kept), report);
    validation_.cases.push_back(std::move(report));
  }

  void judge_results(KernelRun& run, FailedCase& kept, CaseReport& report) {
    kept.candidate = std::move(run.results[0]);
    run.results[0] = kept.candidate;
    for (std::size_t i = 0; i < contract_.outputs.size(); ++i) {
      const ContractOutput& output = contract_.outputs[i];
      const Expected& expected = kept.expected.at(output.array.name);
      count_power(validation_.power[i], power_of(output, expected, request_.tolerance));
      const auto found = kept.candidate.find(output.array.name);
      if (found == kept.candidate.end()) {
        report.findings.push_back({FindingKind::kError, fmt::format("output {} is missing", output.array.name)});
        continue;
      }
      compare_runs(run, output.array.name, expected.value, report.findings);
      report.outputs.push_back(judge(output, expected, found->second, request_.tolerance));
      if (!report.outputs.back().match())
        report.findings.push_back({FindingKind::kValues, describe_verdict(report.outputs.back())});
    }
  }

  static void count_power(OutputPower& total, const PowerCheck& power) {
    if (!power.possible) return;
    ++total.cases;
    total.zeros += power.zeros ? 1 : 0;
    total.one_element += power.one_element ? 1 : 0;
    total.wrong_scale += power.wrong_scale ? 1 : 0;
  }

  // Keeps a failed case for the diagnosis: one a family at first, the more elements the better.
  void keep(FailedCase kept, const CaseReport& report) {
    kept.verdicts = report.outputs;
    std::size_t bytes = 0;
    for (const auto& [name, tensor] : kept.inputs) bytes += tensor.nbytes();
    const std::string family = report.id.family;
    const auto same = std::ranges::find(kept_families_, family);
    if (same != kept_families_.end()) {
      FailedCase& other = failed_[static_cast<std::size_t>(same - kept_families_.begin())];
      if (bytes <= kMostKeptBytes && kept.verdicts[0].elements > other.verdicts[0].elements) other = std::move(kept);
      return;
    }
    if (failed_.size() >= kMostDiagnosed) return;
    kept_families_.push_back(family);
    failed_.push_back(std::move(kept));
  }

  void diagnose() {
    if (failed_.empty()) return;
    bool explained = false;
    std::vector<std::string> by_name = explain_by_alternatives(contract_, request_.settings, failed_, &explained);
    for (const FailedCase& one : failed_)
      for (const std::string& cause : describe_mismatches(contract_, one)) {
        const std::string text = fmt::format("{} ({})", cause, one.name);
        const std::string kind = cause.substr(0, cause.find_first_of("0123456789"));
        if (std::ranges::find(seen_, kind) != seen_.end()) continue;
        seen_.push_back(kind);
        validation_.causes.push_back(text);
      }
    if (explained)
      validation_.causes.insert(validation_.causes.begin(), by_name.begin(), by_name.end());
    else
      validation_.causes.insert(validation_.causes.end(), by_name.begin(), by_name.end());
    if (explained) return;
    for (const FailedCase& one : failed_) {
      const std::vector<std::string> step = find_first_step(contract_, request_.settings, one, implementation_);
      for (const std::string& text : step) validation_.causes.push_back(fmt::format("{} ({})", text, one.name));
      if (!step.empty()) return;
    }
  }

  const ValidationRequest& request_;
  const Contract& contract_;
  const Implementation& implementation_;
  Validation validation_;
  std::vector<FailedCase> failed_;
  std::vector<std::string> kept_families_;
  std::vector<std::string> seen_;
};

}  // namespace

std::string CaseId::name() const { return fmt::format("{}/{}", family, fmt::join(sizes, "x")); }

std::vector<CaseId> cases_of(const ValidationRequest& request) {
  const Contract& contract = *request.contract;
  for (const std::string& family : request.families) require_family(contract, family);
  for (const tensor::Shape& sizes : request.shapes) require_sizes(contract, sizes);
  std::vector<CaseId> ids;
  for (const std::string& family : request.families.empty() ? contract.families : request.families)
    for (const tensor::Shape& sizes : request.shapes.empty() ? contract.shapes : request.shapes)
      ids.push_back({family, sizes});
  return ids;
}

std::string_view to_string(FindingKind kind) {
  switch (kind) {
    case FindingKind::kValues:
      return "values";
    case FindingKind::kUninitialised:
      return "uninitialised";
    case FindingKind::kNondeterministic:
      return "nondeterministic";
    case FindingKind::kMemory:
      return "memory";
    case FindingKind::kCrash:
      return "crash";
    case FindingKind::kHang:
      return "hang";
    case FindingKind::kError:
      break;
  }
  return "error";
}

std::int64_t Validation::count(bool (CaseReport::*is)() const) const {
  return std::ranges::count_if(cases, [&](const CaseReport& report) { return (report.*is)(); });
}

std::int64_t Validation::skipped() const {
  return std::ranges::count_if(cases, [](const CaseReport& report) { return report.skipped; });
}

bool Validation::passed() const {
  return count(&CaseReport::failed) == 0 && count(&CaseReport::passed) > 0 &&
         std::ranges::all_of(power, [](const OutputPower& one) { return one.enough(); });
}

Validation validate(const ValidationRequest& request, const Implementation& implementation,
                    const std::function<void(std::int64_t, std::int64_t)>& progress) {
  if (!implementation.supports(*request.contract))
    core::fail_input("implementation {} does not support contract {}", implementation.name, request.contract->name);
  return Validator(request, implementation).run(progress);
}

}  // namespace lastbit::check

#include "kernels/doctor/doctor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "check/probe_text.h"
#include "check/validation.h"
#include "core/error.h"
#include "core/suggest.h"
#include "kernels/doctor/timed_case.h"

namespace lastbit::kernels {
namespace {

constexpr std::size_t kMostFindings = 3;
constexpr const char* kProbes = "mma";
constexpr const char* kFp8Architectures = "sm_90a, sm_100a";  // of kPortable those whose mma.sync takes FP8

bool asked_for(const DoctorRequest& request, const std::string& contract) {
  return request.contracts.empty() || std::ranges::find(request.contracts, contract) != request.contracts.end();
}

void require_contracts(const DoctorPlace& place, const DoctorRequest& request) {
  std::vector<std::string> known{kProbes};
  if (place.device_path) known.emplace_back(kDevicePath);
  for (const Candidate& candidate : place.candidates) known.push_back(candidate.contract->name);
  for (const std::string& name : request.contracts)
    if (std::ranges::find(known, name) == known.end())
      core::fail_input("--contracts: no kernel has contract '{}'{}", name, core::suggestion(name, known));
}

// `implementation`, adding the bytes of each call's arrays to `bytes`.
check::Implementation counting_bytes(check::Implementation implementation, double& bytes) {
  const auto run = implementation.run;
  implementation.run = [run, &bytes](const check::KernelCall& call) {
    bytes = 0;
    for (const auto& [name, tensor] : call.inputs) bytes += static_cast<double>(tensor.nbytes());
    for (const check::OutputSpec& output : call.outputs)
      bytes += static_cast<double>(tensor::element_count(output.shape, output.name)) *
               static_cast<double>(tensor::size_of(output.dtype));
    return run(call);
  };
  return implementation;
}

void add_findings(const check::Validation& validation, KernelRow& row) {
  for (const check::CaseReport& report : validation.cases)
    for (const check::Finding& finding : report.findings)
      if (row.findings.size() < kMostFindings)
        row.findings.push_back(fmt::format("{}: {}", report.id.name(), finding.text));
  for (const check::OutputPower& power : validation.power)
    if (!power.enough()) row.findings.push_back(power.output + ": the comparison has no power");
}

void hold_against_contract(const check::Implementation& implementation, const check::ValidationRequest& request,
                           KernelRow& row) {
  const check::Validation validation = check::validate(request, implementation);
  row.passed = validation.count(&check::CaseReport::passed);
  row.failed = validation.count(&check::CaseReport::failed);
  row.skipped = validation.skipped();
  row.causes = validation.causes;
  const bool none = row.passed + row.failed == 0;
  row.verdict = validation.passed() ? DoctorVerdict::kAccepted
                : none              ? DoctorVerdict::kSkipped
                                    : DoctorVerdict::kRejected;
  if (none && !validation.cases.empty()) row.reason = validation.cases.front().skip_reason;
  add_findings(validation, row);
}

// One more case, larger, checked as well as timed.
void time_kernel(const DoctorPlace& place, const check::Implementation& implementation,
                 check::ValidationRequest request, KernelRow& row) {
  const std::optional<TimedCase> timed = timed_case(row.contract);
  if (!timed) return;
  const auto& families = request.contract->families;
  const bool normal = std::ranges::find(families, "normal") != families.end();
  request.families = {normal ? "normal" : families.front()};
  request.shapes = {timed->sizes};
  request.diagnose = false;
  KernelTiming timing;
  const check::Validation validation = check::validate(request, counting_bytes(implementation, timing.work.bytes));
  const check::CaseReport& report = validation.cases.front();
  if (report.skipped) return;
  row.passed += report.passed() ? 1 : 0;
  row.failed += report.failed() ? 1 : 0;
  if (report.failed()) {
    row.verdict = DoctorVerdict::kRejected;
    add_findings(validation, row);
  }
  timing.shape = fmt::format("{}", fmt::join(timed->sizes, "x"));
  timing.seconds = report.candidate_s;
  timing.work.operations = timed->operations;
  timing.work.rate = timed->rate;
  timing.bound = bound_of(timing.work, place.peaks);
  row.timing = timing;
}

std::string not_run(const std::string& lost_since) { return "not run: the device is lost since " + lost_since; }

KernelRow examine_kernel(const DoctorPlace& place, const Candidate& candidate, std::uint64_t seed,
                         const std::string& lost_since) {
  KernelRow row{candidate.contract->name, candidate.kernel.name, candidate.version_name};
  for (const check::ContractOutput& output : candidate.contract->outputs)
    row.tolerance += (row.tolerance.empty() ? "" : ", ") + check::describe_tolerance(output);
  if (!lost_since.empty()) {
    row.reason = not_run(lost_since);
    return row;
  }
  row.reason = candidate.note;
  const DeviceInfo& device = place.device;
  if (device.is_gpu && !runs_on(candidate.kernel.architectures, device.major, device.minor)) {
    row.reason = fmt::format("it is compiled for {}; this GPU is sm_{}{}", candidate.kernel.architectures, device.major,
                             device.minor);
    return row;
  }
  check::ValidationRequest request;
  request.contract = candidate.contract;
  request.settings = check::contract_settings(*candidate.contract, candidate.settings);
  request.seed = seed;
  const check::Implementation implementation = place.run_on(candidate.kernel, candidate.version);
  try {
    hold_against_contract(implementation, request, row);
    if (device.is_gpu && row.verdict != DoctorVerdict::kSkipped) time_kernel(place, implementation, request, row);
  } catch (const core::Error& error) {  // what CUDA says
    row.verdict = DoctorVerdict::kRejected;
    row.findings.push_back(error.what());
  }
  return row;
}

KernelRow examine_model(const DoctorPlace& place, const std::string& numerics, std::uint64_t seed,
                        const std::string& lost_since) {
  KernelRow row{kDevicePath, "model", numerics};
  if (!lost_since.empty()) {
    row.reason = not_run(lost_since);
    return row;
  }
  try {
    return place.device_path(numerics, seed);
  } catch (const std::exception& error) {  // what CUDA says, a finding of the executor, numbers that are not finite
    row.verdict = DoctorVerdict::kRejected;
    row.findings.emplace_back(error.what());
    return row;
  }
}

// What the answer to a probe says of an instruction.
void fill_in(const check::ProbeQuestion& question, const check::ProbeAnswer& answer, ProbeRow& row) {
  row.found = answer.found;
  row.matched = answer.matched;
  row.records = answer.records;
  row.rule = check::rule_text(answer.row);
  if (answer.found) row.known_as = check::known_as(question, answer.row);
}

ProbeRow probe_mma_sync(const DoctorPlace& place, const check::ProbeQuestion& question, std::uint64_t seed) {
  ProbeRow row{"mma.sync", question.name()};
  const bool fp8 = numerics::describe(question.a).storage_bytes == 1;
  // Code and PTX for sm_80 run on later GPUs, too, but have no instruction that is newer.
  const std::string architectures = fp8 ? kFp8Architectures : mma_dots_kernel().architectures;
  if (place.device.is_gpu && !runs_on(architectures, place.device.major, place.device.minor)) {
    row.reason = "the kernel is not compiled for these types on this GPU";
    return row;
  }
  const auto answer = check::probe_mma(question, place.run_on(mma_dots_kernel(), Version::kTuned), seed);
  if (answer)
    fill_in(question, *answer, row);
  else
    row.reason = "the kernel has no instruction of these types";
  return row;
}

// The tensor core as the FP8 product uses it: wgmma.
ProbeRow probe_wgmma(const DoctorPlace& place, std::uint64_t seed) {
  const check::ProbeQuestion question{numerics::Format::kE4M3, numerics::Format::kE4M3, numerics::Format::kF32, 64};
  ProbeRow row{"wgmma", question.name()};
  for (const Candidate& candidate : place.candidates) {
    if (candidate.kernel.name != "fp8_gemm_1x128_128x128_nt_wgmma" || candidate.version != Version::kTuned) continue;
    if (place.device.is_gpu && !runs_on(candidate.kernel.architectures, place.device.major, place.device.minor)) {
      row.reason = fmt::format("it is compiled for {} alone", candidate.kernel.architectures);
      return row;
    }
    const auto answer =
        check::probe_gemm(question, numerics::Format::kF32, place.run_on(candidate.kernel, candidate.version), seed);
    if (!answer) break;
    fill_in(question, answer->rule, row);
    row.promotion = check::promotion_text(answer->promotions);
    return row;
  }
  row.reason = "no kernel of this build uses it";
  return row;
}

// Two instructions along K, so that the rule of a chain shows.
std::vector<check::ProbeQuestion> mma_questions() {
  using numerics::Format;
  std::vector<check::ProbeQuestion> questions;
  for (const auto& [a, b] : {std::pair{Format::kE4M3, Format::kE4M3}, std::pair{Format::kE5M2, Format::kE5M2},
                             std::pair{Format::kE4M3, Format::kE5M2}, std::pair{Format::kF16, Format::kF16},
                             std::pair{Format::kBF16, Format::kBF16}, std::pair{Format::kTF32, Format::kTF32}})
    questions.push_back({a, b, Format::kF32, 64 / numerics::describe(a).storage_bytes});
  return questions;
}

template <typename Probe>
ProbeRow probe_or_reason(const std::string& instruction, const std::string& types, const std::string& lost_since,
                         const Probe& probe) {
  if (!lost_since.empty()) {
    ProbeRow row{instruction, types};
    row.reason = not_run(lost_since);
    return row;
  }
  try {
    return probe();
  } catch (const core::Error& error) {
    ProbeRow row{instruction, types};
    row.reason = error.what();
    return row;
  }
}

struct Step {
  std::string name;
  std::function<void()> run;
};

}  // namespace

const char* to_string(DoctorVerdict verdict) {
  switch (verdict) {
    case DoctorVerdict::kAccepted:
      return "accepted";
    case DoctorVerdict::kRejected:
      return "rejected";
    case DoctorVerdict::kSkipped:
      break;
  }
  return "skipped";
}

std::int64_t DoctorReport::count(DoctorVerdict verdict) const {
  return std::ranges::count_if(kernels, [&](const KernelRow& row) { return row.verdict == verdict; });
}

bool DoctorReport::accepted() const {
  const bool probed = std::ranges::any_of(probes, [](const ProbeRow& row) { return row.records > 0; });
  return lost_since.empty() && count(DoctorVerdict::kRejected) == 0 &&
         (count(DoctorVerdict::kAccepted) > 0 || (kernels.empty() && probed));
}

DoctorReport examine(const DoctorPlace& place, const DoctorRequest& request,
                     const std::function<void(std::int64_t done, std::int64_t all)>& progress) {
  require_contracts(place, request);
  DoctorReport report{place.device, place.peaks};
  std::vector<Step> steps;
  for (const Candidate& candidate : place.candidates)
    if (asked_for(request, candidate.contract->name))
      steps.push_back({candidate.kernel.name + ":" + candidate.version_name, [&] {
                         report.kernels.push_back(examine_kernel(place, candidate, request.seed, report.lost_since));
                       }});
  if (place.device_path && asked_for(request, kDevicePath))
    for (const char* const numerics : {"fp32", "bf16"})
      steps.push_back({std::string("the model under ") + numerics, [&, numerics] {
                         report.kernels.push_back(examine_model(place, numerics, request.seed, report.lost_since));
                       }});
  if (asked_for(request, kProbes)) {
    for (const check::ProbeQuestion& question : mma_questions())
      steps.push_back({"the probe of mma.sync " + question.name(), [&, question] {
                         report.probes.push_back(probe_or_reason("mma.sync", question.name(), report.lost_since, [&] {
                           return probe_mma_sync(place, question, request.seed);
                         }));
                       }});
    steps.push_back({"the probe of wgmma", [&] {
                       report.probes.push_back(probe_or_reason("wgmma", "e4m3.e4m3.f32", report.lost_since,
                                                               [&] { return probe_wgmma(place, request.seed); }));
                     }});
  }
  for (std::size_t i = 0; i < steps.size(); ++i) {
    progress(static_cast<std::int64_t>(i), std::ssize(steps));
    steps[i].run();
    if (report.lost_since.empty() && place.is_lost && place.is_lost()) report.lost_since = steps[i].name;
  }
  return report;
}

}  // namespace lastbit::kernels

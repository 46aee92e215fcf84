#include "kernels/doctor/doctor_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "core/version.h"

namespace lastbit::kernels {
namespace {

using nlohmann::json;

std::string device_line(const DeviceInfo& device) {
  if (!device.is_gpu) return device.name;
  return fmt::format("{}, sm_{}{}, {} SMs, {:.1f} GB", device.name, device.major, device.minor, device.sms,
                     device.memory_bytes / 1e9);
}

std::string software_line(const DeviceInfo& device) {
  std::string lastbit = fmt::format("lastbit {}", core::version());
  if (!device.is_gpu) return lastbit;
  return fmt::format("{}, built with CUDA {}; the driver serves CUDA {}", lastbit, device.toolkit, device.driver);
}

std::string rate_line(double rate, double unit, const char* name, const std::string& source) {
  return rate > 0 ? fmt::format("{:.2f} {} ({})", rate / unit, name, source) : "not known";
}

std::string time_text(double seconds) {
  return seconds < 1e-3 ? fmt::format("{:.1f} us", seconds * 1e6) : fmt::format("{:.2f} ms", seconds * 1e3);
}

std::string share_text(const KernelTiming& timing) {
  if (timing.share() <= 0) return "not known";
  return fmt::format("{:.0f} % ({})", 100 * timing.share(), timing.bound.by_bytes ? "bytes" : "operations");
}

std::string cases_text(const KernelRow& row) {
  std::string text = fmt::format("{} of {}", row.passed, row.passed + row.failed);
  if (row.skipped > 0) text += fmt::format(", {} skipped", row.skipped);
  return text;
}

std::string probe_verdict(const ProbeRow& row) {
  if (!row.reason.empty()) return "not probed: " + row.reason;
  if (!row.found) return fmt::format("no rule gives all answers; {} of {} by: {}", row.matched, row.records, row.rule);
  std::string text = row.rule;
  if (!row.known_as.empty()) text += fmt::format("; known as {}", fmt::join(row.known_as, ", "));
  if (!row.promotion.empty()) text += "; promotion " + row.promotion;
  return text;
}

json or_null(double value) { return value > 0 ? json(value) : json(nullptr); }

json timing_json(const KernelTiming& timing) {
  return {{"shape", timing.shape},
          {"seconds", timing.seconds},
          {"bytes", timing.work.bytes},
          {"operations", timing.work.operations},
          {"bound_s", or_null(timing.bound.seconds)},
          {"bound_by", timing.bound.by_bytes ? "bytes" : "operations"},
          {"share_of_bound", or_null(timing.share())}};
}

json kernel_json(const KernelRow& row) {
  json entry{{"contract", row.contract},   {"kernel", row.kernel}, {"version", row.version},
             {"tolerance", row.tolerance}, {"passed", row.passed}, {"failed", row.failed},
             {"skipped", row.skipped},     {"reason", row.reason}, {"verdict", to_string(row.verdict)},
             {"findings", row.findings},   {"causes", row.causes}};
  entry["timing"] = row.timing ? timing_json(*row.timing) : json(nullptr);
  return entry;
}

json probe_json(const ProbeRow& row) {
  return {
      {"instruction", row.instruction}, {"types", row.types},     {"reason", row.reason}, {"found", row.found},
      {"matched", row.matched},         {"records", row.records}, {"rule", row.rule},     {"known_as", row.known_as},
      {"promotion", row.promotion}};
}

std::string kernel_table(const DoctorReport& report) {
  std::string text =
      "| contract | kernel | held to | verdict | cases | timed at | time | share of the bound |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
  for (const KernelRow& row : report.kernels)
    text += fmt::format("| {} | {}:{} | {} | {} | {} | {} | {} | {} |\n", row.contract, row.kernel, row.version,
                        row.tolerance, to_string(row.verdict), cases_text(row), row.timing ? row.timing->shape : "",
                        row.timing ? time_text(row.timing->seconds) : "", row.timing ? share_text(*row.timing) : "");
  return text;
}

std::string finding_list(const DoctorReport& report) {
  std::string text;
  for (const KernelRow& row : report.kernels) {
    if (row.findings.empty() && row.causes.empty() && row.reason.empty()) continue;
    text += fmt::format("\n### {}: {}:{}, {}\n\n", row.contract, row.kernel, row.version, to_string(row.verdict));
    if (!row.reason.empty()) text += fmt::format("- {}\n", row.reason);
    for (const std::string& finding : row.findings) text += fmt::format("- {}\n", finding);
    for (const std::string& cause : row.causes) text += fmt::format("- diagnosis: {}\n", cause);
  }
  return text;
}

std::string verdict_line(const DoctorReport& report) {
  const std::string lost = report.lost_since.empty()
                               ? ""
                               : fmt::format("; the rest not run: the device is lost since {}", report.lost_since);
  return fmt::format("{}: {} accepted, {} rejected, {} skipped{}", report.accepted() ? "ACCEPTED" : "REJECTED",
                     report.count(DoctorVerdict::kAccepted), report.count(DoctorVerdict::kRejected),
                     report.count(DoctorVerdict::kSkipped), lost);
}

constexpr const char* kNoGpu =
    "This is not a GPU: the executor stood in for one on the CPU, so nothing here was timed and nothing says how a GPU "
    "behaves.";

}  // namespace

json doctor_json(const DoctorReport& report) {
  const DeviceInfo& device = report.device;
  json kernels = json::array();
  for (const KernelRow& row : report.kernels) kernels.push_back(kernel_json(row));
  json probes = json::array();
  for (const ProbeRow& row : report.probes) probes.push_back(probe_json(row));
  json on{{"gpu", device.is_gpu}, {"name", device.name}};
  if (device.is_gpu)
    on.update({{"compute_capability", fmt::format("{}.{}", device.major, device.minor)},
               {"sms", device.sms},
               {"memory_bytes", device.memory_bytes},
               {"driver_cuda", device.driver},
               {"toolkit_cuda", device.toolkit}});
  const Peaks& peaks = report.peaks;
  return {{"schema", 1},
          {"generator", fmt::format("lastbit {}", core::version())},
          {"device", on},
          {"peaks",
           {{"bandwidth_bytes_per_s", or_null(peaks.bandwidth)},
            {"bandwidth_source", peaks.bandwidth_source},
            {"bf16_flops", or_null(peaks.bf16)},
            {"fp8_flops", or_null(peaks.fp8)},
            {"operations_source", peaks.operations_source}}},
          {"accepted", report.accepted()},
          {"lost_since", report.lost_since.empty() ? json(nullptr) : json(report.lost_since)},
          {"kernels", kernels},
          {"probes", probes}};
}

std::string doctor_markdown(const DoctorReport& report) {
  std::string text = fmt::format("# Kernels of Lastbit on {}\n\n", device_line(report.device));
  if (!report.device.is_gpu) text += fmt::format("**{}**\n\n", kNoGpu);
  text += fmt::format("{}\n\n{}\n\n", verdict_line(report), software_line(report.device));
  if (report.device.is_gpu) {
    const Peaks& peaks = report.peaks;
    text += fmt::format("- bandwidth: {}\n", rate_line(peaks.bandwidth, 1e12, "TB/s", peaks.bandwidth_source));
    text += fmt::format("- BF16: {}\n", rate_line(peaks.bf16, 1e12, "TFLOP/s", peaks.operations_source));
    text += fmt::format("- FP8: {}\n\n", rate_line(peaks.fp8, 1e12, "TFLOP/s", peaks.operations_source));
    text +=
        "The bound of a time is what every array's bytes take once at the bandwidth, or a product's operations at "
        "the peak, whichever is longer.\n\n";
  }
  if (!report.kernels.empty()) text += "## Kernels\n\n" + kernel_table(report) + finding_list(report);
  if (!report.probes.empty()) {
    text += "\n## Tensor cores\n\n| instruction | types | what it computes |\n| --- | --- | --- |\n";
    for (const ProbeRow& row : report.probes)
      text += fmt::format("| {} | {} | {} |\n", row.instruction, row.types, probe_verdict(row));
  }
  return text;
}

std::string doctor_text(const DoctorReport& report) {
  std::string text = device_line(report.device) + "\n" + software_line(report.device) + "\n";
  if (!report.device.is_gpu) text += std::string(kNoGpu) + "\n";
  for (const KernelRow& row : report.kernels) {
    text += fmt::format("{:<9} {:<28} {:<44} {:>9}", to_string(row.verdict), row.contract,
                        row.kernel + ":" + row.version, cases_text(row));
    if (row.timing)
      text += fmt::format("  {:>9} at {}, {} of the bound", time_text(row.timing->seconds), row.timing->shape,
                          share_text(*row.timing));
    text += "\n";
    if (row.verdict == DoctorVerdict::kRejected && !row.findings.empty()) text += "  " + row.findings.front() + "\n";
  }
  for (const ProbeRow& row : report.probes)
    text += fmt::format("{:<9} {:<14} {}\n", row.instruction, row.types, probe_verdict(row));
  return text + verdict_line(report) + "\n";
}

}  // namespace lastbit::kernels

// The report of a validation for people at a terminal.
#include <fmt/format.h>

#include "check/validation_report.h"

namespace lastbit::check {
namespace {

void add_findings(const Validation& validation, std::string& text) {
  constexpr std::int64_t kMost = 12;
  std::int64_t shown = 0;
  for (const CaseReport& report : validation.cases) {
    if (!report.failed()) continue;
    if (shown++ == kMost) {
      text += fmt::format("  ... and {} more failed cases (--json and --html have all)\n",
                          validation.count(&CaseReport::failed) - kMost);
      return;
    }
    for (const Finding& finding : report.findings)
      text += fmt::format("  {:<17}{:<26} {}\n", to_string(finding.kind), report.id.name(), finding.text);
    for (const OutputVerdict& verdict : report.outputs)
      if (!verdict.match() && verdict.difference.empty())
        text += fmt::format("  {:<17}{:<26} {}: worst {} ulp, p99 {} ulp, {} of {} bits differ, |error| up to {:.3g}\n",
                            "", "", verdict.output, verdict.worst_ulp, verdict.p99_ulp, verdict.differing,
                            verdict.elements, verdict.max_abs);
  }
}

}  // namespace

std::string validation_text(const Validation& validation) {
  std::string text;
  double reference_s = 0;
  double candidate_s = 0;
  for (const CaseReport& report : validation.cases) {
    reference_s += report.reference_s;
    candidate_s += report.candidate_s;
  }
  text += fmt::format("{}  {}: {} of {} cases passed, {} failed, {} skipped\n",
                      validation.passed() ? "ACCEPTED" : "REJECTED", validation.contract->name,
                      validation.count(&CaseReport::passed), validation.cases.size(),
                      validation.count(&CaseReport::failed), validation.skipped());
  text += fmt::format("  candidate {}; seed {}; {:.2f} s (reference {:.2f} s, candidate {:.2f} s)\n",
                      validation.implementation, validation.seed, validation.seconds, reference_s, candidate_s);
  if (validation.count(&CaseReport::failed) > 0) text += "\nFindings\n";
  add_findings(validation, text);
  if (!validation.causes.empty()) text += "\nCauses\n";
  for (const std::string& cause : validation.causes) text += "  " + cause + "\n";
  text += "\nPower: cases in which the same comparison rejects\n";
  for (std::size_t i = 0; i < validation.power.size(); ++i) {
    const OutputPower& power = validation.power[i];
    if (power.cases == 0) continue;
    text += fmt::format("  {:<14} {:<8} zeros {}/{}, one element {}/{}, twice as large {}/{}\n", power.output,
                        describe_tolerance(validation.contract->outputs[i]), power.zeros, power.cases,
                        power.one_element, power.cases, power.wrong_scale, power.cases);
  }
  return text;
}

}  // namespace lastbit::check

#include "check/validation_report.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/version.h"
#include "io/html_page.h"

namespace lastbit::check {
namespace {

nlohmann::json finite_number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json("inf");
}

nlohmann::json pair_json(const std::optional<tensor::ElementPair>& pair) {
  if (!pair) return nullptr;
  return {{"coordinates", pair->coordinates},
          {"reference", {{"bits", pair->reference_bits}, {"value", pair->reference_value}}},
          {"candidate", {{"bits", pair->candidate_bits}, {"value", pair->candidate_value}}}};
}

nlohmann::json verdict_json(const OutputVerdict& verdict) {
  nlohmann::json object{{"output", verdict.output},
                        {"match", verdict.match()},
                        {"type", verdict.type},
                        {"shape", verdict.shape},
                        {"tolerance", verdict.tolerance}};
  if (!verdict.difference.empty()) {
    object["difference"] = verdict.difference;
    return object;
  }
  object.update({{"elements", verdict.elements},
                 {"differing", verdict.differing},
                 {"mismatches", verdict.mismatches},
                 {"nonfinite_mismatches", verdict.nonfinite_mismatches},
                 {"worst_ulp", verdict.worst_ulp},
                 {"p99_ulp", verdict.p99_ulp},
                 {"max_abs", finite_number(verdict.max_abs)},
                 {"first", pair_json(verdict.first)},
                 {"first_nonfinite", pair_json(verdict.first_nonfinite)},
                 {"worst", pair_json(verdict.worst)}});
  if (verdict.tolerance == "band") object["worst_share_of_bound"] = finite_number(verdict.worst_share);
  return object;
}

std::string case_status(const CaseReport& report) {
  return report.skipped ? "skipped" : report.failed() ? "failed" : "passed";
}

// ---- HTML

// Light to dark, from the share of a cell's elements that are wrong.
std::string cell_colour(double share) {
  const double strength = 0.25 + 0.75 * std::sqrt(share);
  const auto mix = [&](double from, double to) { return static_cast<int>(from + (to - from) * strength); };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(255, 153), mix(237, 27), mix(220, 30));
}

std::string map_svg(const OutputVerdict& verdict, const std::string& label) {
  const ErrorMap& map = verdict.map;
  constexpr double kSide = 320;
  constexpr double kLeft = 44;
  constexpr double kTop = 20;
  const double width = kSide / static_cast<double>(std::max(map.rows, map.cols));
  const double w = width * static_cast<double>(map.cols);
  const double h = width * static_cast<double>(map.rows);
  std::string svg = fmt::format(
      R"(<svg class="picture" viewBox="0 0 {:.0f} {:.0f}" width="{:.0f}" role="img" aria-label="{}"><title>{}</title>)",
      kLeft + kSide + 8, kTop + std::max(h, 30.0) + 26, kLeft + kSide + 8, io::xml_escaped(label),
      io::xml_escaped(label));
  svg +=
      fmt::format(R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="ground"/>)", kLeft, kTop, w, h);
  for (std::int64_t i = 0; i < map.rows; ++i)
    for (std::int64_t j = 0; j < map.cols; ++j) {
      const std::int64_t count = map.mismatches[static_cast<std::size_t>(i * map.cols + j)];
      if (count == 0) continue;
      const double share = static_cast<double>(count) / static_cast<double>(map.cell_rows * map.cell_cols);
      svg += fmt::format(R"(<rect x="{:.1f}" y="{:.1f}" width="{:.2f}" height="{:.2f}" fill="{}"/>)",
                         kLeft + width * static_cast<double>(j), kTop + width * static_cast<double>(i), width, width,
                         cell_colour(std::min(share, 1.0)));
    }
  const std::int64_t cols = verdict.shape.empty() ? 1 : verdict.shape.back();
  const std::int64_t rows = cols == 0 ? 0 : verdict.elements / cols;
  svg += fmt::format(R"(<text x="{:.0f}" y="14">column 0</text><text x="{:.0f}" y="14" text-anchor="end">{}</text>)",
                     kLeft, kLeft + std::max(w, 120.0), cols - 1);
  svg += fmt::format(R"(<text x="{0:.0f}" y="{1:.0f}" text-anchor="end">row 0</text>)", kLeft - 4, kTop + 11);
  if (h > 30)
    svg += fmt::format(R"(<text x="{:.0f}" y="{:.0f}" text-anchor="end">{}</text>)", kLeft - 4, kTop + h, rows - 1);
  svg += fmt::format(R"(<text x="{:.0f}" y="{:.0f}">a cell: {} x {} elements</text></svg>)", kLeft,
                     kTop + std::max(h, 30.0) + 18, map.cell_rows, map.cell_cols);
  return svg;
}

std::string bin_label(std::size_t bin) {
  if (bin == 0) return "0";
  if (bin == 1) return "1";
  if (bin == 2) return "2-3";
  return bin < 8 ? fmt::format("{}-{}", 1u << (bin - 1), (1u << bin) - 1) : fmt::format("2^{}..", bin - 1);
}

std::string histogram_svg(const OutputVerdict& verdict, const std::string& label) {
  std::vector<std::pair<std::string, std::int64_t>> bars;
  std::size_t last = 0;
  for (std::size_t bin = 0; bin + 1 < verdict.histogram.size(); ++bin)
    if (verdict.histogram[bin] > 0) last = bin;
  for (std::size_t bin = 0; bin <= last; ++bin) bars.emplace_back(bin_label(bin), verdict.histogram[bin]);
  if (verdict.histogram.back() > 0) bars.emplace_back("NaN, Inf", verdict.histogram.back());
  constexpr double kRow = 17;
  constexpr double kLeft = 64;
  constexpr double kBar = 200;
  const double height = kRow * static_cast<double>(bars.size()) + 40;
  const double largest = std::log10(1.0 + static_cast<double>(std::max<std::int64_t>(verdict.elements, 1)));
  std::string svg = fmt::format(
      R"(<svg class="picture" viewBox="0 0 350 {0:.0f}" width="350" role="img" aria-label="{1}"><title>{1}</title><text x="0" y="12">ulps</text><text x="{2:.0f}" y="12">elements (logarithmic)</text>)",
      height, io::xml_escaped(label), kLeft);
  double y = 20;
  for (const auto& [name, count] : bars) {
    const double length = kBar * std::log10(1.0 + static_cast<double>(count)) / largest;
    svg += fmt::format(
        R"(<text x="{0:.0f}" y="{1:.0f}" text-anchor="end">{2}</text><rect x="{3:.0f}" y="{4:.0f}" width="{5:.1f}" height="12" class="{6}"/><text x="{7:.1f}" y="{1:.0f}">{8}</text>)",
        kLeft - 6, y + 11, name, kLeft, y + 1, length, name == "0" ? "good" : "bad", kLeft + length + 4, count);
    y += kRow;
  }
  return svg + "</svg>";
}

std::string findings_html(const CaseReport& report) {
  std::string html = "<ul>";
  for (const Finding& finding : report.findings)
    html += fmt::format("<li><b>{}</b> <code>{}</code></li>", to_string(finding.kind), io::xml_escaped(finding.text));
  return html + "</ul>";
}

std::string failed_case_html(const CaseReport& report) {
  std::string html = fmt::format("<h3>{}</h3>{}", io::xml_escaped(report.id.name()), findings_html(report));
  html += R"(<div class="pictures">)";
  for (const OutputVerdict& verdict : report.outputs) {
    if (verdict.match() || !verdict.difference.empty()) continue;
    const std::string of = fmt::format("{} {}", verdict.output, tensor::to_string(verdict.shape));
    html += fmt::format(
        "<div><p class=\"soft\">mismatches over {}</p>{}</div>", of,
        map_svg(verdict, fmt::format("{} of {} elements of {} mismatch", verdict.mismatches, verdict.elements, of)));
    html += fmt::format("<div><p class=\"soft\">distance in ulps of {}, worst {}, p99 {}</p>{}</div>", verdict.output,
                        verdict.worst_ulp, verdict.p99_ulp,
                        histogram_svg(verdict, fmt::format("histogram of ulps of {}", of)));
  }
  return html + "</div>";
}

std::string power_html(const Validation& validation) {
  std::string html =
      "<h2>Power</h2><p class=\"soft\">In how many cases the same comparison rejects results that are wrong on "
      "purpose.</p><div class=\"scroll\"><table><tr><th>output</th><th>tolerance</th><th>zeros</th><th>one element</th>"
      "<th>twice as large</th><th>why this tolerance</th></tr>";
  for (std::size_t i = 0; i < validation.power.size(); ++i) {
    const OutputPower& power = validation.power[i];
    const ContractOutput& output = validation.contract->outputs[i];
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{} of {}</td><td>{} of {}</td><td>{} of {}</td><td class=\"words\">{}</td></tr>",
        power.output, describe_tolerance(output), power.zeros, power.cases, power.one_element, power.cases,
        power.wrong_scale, power.cases, io::xml_escaped(output.derivation));
  }
  return html + "</table></div>";
}

std::string cases_html(const Validation& validation) {
  std::string html =
      "<h2>All cases</h2><div class=\"scroll\"><table><tr><th>case</th><th>result</th><th>worst ulp</th><th>reference "
      "[ms]</th><th>candidate [ms]</th></tr>";
  for (const CaseReport& report : validation.cases) {
    std::uint64_t worst = 0;
    for (const OutputVerdict& verdict : report.outputs) worst = std::max(worst, verdict.worst_ulp);
    html += fmt::format("<tr><td>{}</td><td class=\"{}\">{}</td><td>{}</td><td>{:.2f}</td><td>{:.2f}</td></tr>",
                        io::xml_escaped(report.id.name()),
                        report.failed()  ? "fail"
                        : report.skipped ? "soft"
                                         : "pass",
                        case_status(report), report.outputs.empty() ? "" : std::to_string(worst),
                        1e3 * report.reference_s, 1e3 * report.candidate_s);
  }
  return html + "</table></div>";
}

std::string settings_text(const Validation& validation) {
  std::vector<std::string> words;
  for (const auto& [key, value] : validation.settings.values()) words.push_back(fmt::format("{}={}", key, value));
  return fmt::format("{}", fmt::join(words, " "));
}

}  // namespace

nlohmann::json validation_json(const Validation& validation) {
  nlohmann::json cases = nlohmann::json::array();
  for (const CaseReport& report : validation.cases) {
    nlohmann::json findings = nlohmann::json::array();
    for (const Finding& finding : report.findings)
      findings.push_back({{"kind", to_string(finding.kind)}, {"text", finding.text}});
    nlohmann::json outputs = nlohmann::json::array();
    for (const OutputVerdict& verdict : report.outputs) outputs.push_back(verdict_json(verdict));
    cases.push_back({{"case", report.id.name()},
                     {"family", report.id.family},
                     {"sizes", report.id.sizes},
                     {"status", case_status(report)},
                     {"reason", report.skip_reason},
                     {"findings", findings},
                     {"outputs", outputs},
                     {"reference_s", report.reference_s},
                     {"candidate_s", report.candidate_s}});
  }
  nlohmann::json power = nlohmann::json::array();
  for (const OutputPower& one : validation.power)
    power.push_back({{"output", one.output},
                     {"cases", one.cases},
                     {"zeros", one.zeros},
                     {"one_element", one.one_element},
                     {"wrong_scale", one.wrong_scale}});
  return {{"schema", 1},
          {"generator", fmt::format("lastbit {}", core::version())},
          {"contract", validation.contract->name},
          {"settings", validation.settings.values()},
          {"seed", validation.seed},
          {"implementation", validation.implementation},
          {"passed", validation.passed()},
          {"causes", validation.causes},
          {"power", power},
          {"cases", cases},
          {"seconds", validation.seconds}};
}

std::string validation_junit(const Validation& validation) {
  const auto is_error = [](const Finding& finding) {
    return finding.kind == FindingKind::kCrash || finding.kind == FindingKind::kHang ||
           finding.kind == FindingKind::kError;
  };
  std::int64_t errors = 0;
  for (const CaseReport& report : validation.cases) errors += std::ranges::any_of(report.findings, is_error) ? 1 : 0;
  std::string xml = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"lastbit.{}\" tests=\"{}\" failures=\"{}\" "
      "errors=\"{}\" skipped=\"{}\" time=\"{:.3f}\">\n",
      validation.contract->name, validation.cases.size(), validation.count(&CaseReport::failed) - errors, errors,
      validation.skipped(), validation.seconds);
  xml += fmt::format(
      "  <properties>\n    <property name=\"implementation\" value=\"{}\"/>\n    <property name=\"seed\" "
      "value=\"{}\"/>\n    <property name=\"settings\" value=\"{}\"/>\n  </properties>\n",
      io::xml_escaped(validation.implementation), validation.seed, io::xml_escaped(settings_text(validation)));
  for (const CaseReport& report : validation.cases) {
    xml += fmt::format("  <testcase classname=\"lastbit.{}\" name=\"{}\" time=\"{:.6f}\"", validation.contract->name,
                       io::xml_escaped(report.id.name()), report.candidate_s);
    if (report.passed()) {
      xml += "/>\n";
      continue;
    }
    xml += ">\n";
    if (report.skipped) xml += fmt::format("    <skipped message=\"{}\"/>\n", io::xml_escaped(report.skip_reason));
    if (report.failed()) {
      const char* const kind = std::ranges::any_of(report.findings, is_error) ? "error" : "failure";
      std::string text;
      for (const Finding& finding : report.findings)
        text += fmt::format("{}: {}\n", to_string(finding.kind), finding.text);
      for (const std::string& cause : validation.causes) text += "cause: " + cause + "\n";
      xml += fmt::format("    <{0} type=\"{1}\" message=\"{2}\">{3}</{0}>\n", kind, to_string(report.findings[0].kind),
                         io::xml_escaped(report.findings[0].text), io::xml_escaped(text));
    }
    xml += "  </testcase>\n";
  }
  return xml + "</testsuite>\n";
}

std::string validation_html(const Validation& validation) {
  constexpr std::int64_t kMostPictures = 24;
  const std::string title = fmt::format("{}: {}", validation.contract->name, validation.implementation);
  std::string html = fmt::format(
      "<h1>{}</h1><p class=\"soft\">{}. Held against contract <b>{}</b> by lastbit {}, seed "
      "{}.</p><p><code>{}</code></p>",
      io::xml_escaped(validation.implementation), io::xml_escaped(validation.contract->description),
      validation.contract->name, core::version(), validation.seed, io::xml_escaped(settings_text(validation)));
  html += fmt::format("<p class=\"{}\"><b>{}</b>: {} of {} cases passed, {} failed, {} skipped, in {:.1f} s</p>",
                      validation.passed() ? "pass" : "fail", validation.passed() ? "Accepted" : "Rejected",
                      validation.count(&CaseReport::passed), validation.cases.size(),
                      validation.count(&CaseReport::failed), validation.skipped(), validation.seconds);
  if (!validation.causes.empty()) {
    html += "<h2>What the differences look like</h2><ul>";
    for (const std::string& cause : validation.causes) html += fmt::format("<li>{}</li>", io::xml_escaped(cause));
    html += "</ul>";
  }
  html += power_html(validation);
  std::int64_t pictures = 0;
  for (const CaseReport& report : validation.cases) {
    if (!report.failed()) continue;
    if (pictures == 0) html += "<h2>Failed cases</h2>";
    if (pictures++ == kMostPictures) {
      html += fmt::format("<p class=\"soft\">and {} more, listed below</p>",
                          validation.count(&CaseReport::failed) - kMostPictures);
      break;
    }
    html += failed_case_html(report);
  }
  return io::html_page(title, html + cases_html(validation));
}

}  // namespace lastbit::check

#include "sim/cost/kernel_times.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "core/suggest.h"
#include "io/file_bytes.h"
#include "sim/cost/curve.h"

namespace lastbit::sim::cost {
namespace {

using workload::Operator;

constexpr std::array kColumns{"kernel", "n", "k", "groups", "rows", "us"};

std::string trimmed(std::string text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.back())) text.pop_back();
  while (!text.empty() && blank(text.front())) text.erase(text.begin());
  return text;
}

// Cells of a line; the kernel's name may stand in quotes, since operators' names have commas.
std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> result(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      result.emplace_back();
    } else {
      result.back() += c;
    }
  }
  for (std::string& cell : result) cell = trimmed(std::move(cell));
  return result;
}

double number(const std::string& cell, const std::string& where, const char* column) {
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc{} || end != cell.data() + cell.size() || !(value >= 0) || value > 1e18) {
    core::fail_input("{}: column '{}': found '{}', expected a number from 0 to 1e18", where, column, cell);
  }
  return value;
}

void check_header(const std::vector<std::string>& header, const std::string& where) {
  const bool same = header.size() == kColumns.size() && std::equal(header.begin(), header.end(), kColumns.begin());
  if (!same) core::fail_input("{}: expected the columns kernel,n,k,groups,rows,us in the first line", where);
}

// Of the operator: what the table's "rows" count.
double rows_of(const Operator& op) {
  if (op.tokens > 0) return op.tokens;
  return op.queries > 0 ? op.repeats * op.queries : op.rows;
}

struct Shape {
  double n = 0;
  double k = 0;
  double groups = 1;
  friend bool operator==(const Shape&, const Shape&) = default;
};

// What tells operators of one name apart, beside their rows.
Shape shape_of(const Operator& op) {
  if (op.tokens > 0) return {op.n, op.k, op.groups};
  return {op.queries > 0 ? op.keys : op.width, 0, 1};
}

bool describes(const KernelTimes& times, const Operator& op) {
  if (rows_of(op) == 0) return false;  // an exchange, which is no kernel
  const Shape shape = shape_of(op);
  if (op.tokens > 0 && times.kernel == workload::kind_name(op.kind)) {
    return Shape{times.n, times.k, times.groups} == shape;
  }
  const auto fits = [](double asked, double own) { return asked == 0 || asked == own; };
  return times.kernel == op.name && fits(times.n, shape.n) && fits(times.k, shape.k) &&
         fits(times.groups, shape.groups);
}

const KernelTimes* find_times(const std::vector<KernelTimes>& given, const Operator& op) {
  const auto found =
      std::find_if(given.begin(), given.end(), [&op](const KernelTimes& times) { return describes(times, op); });
  return found == given.end() ? nullptr : &*found;
}

[[noreturn]] void fail_unused(const KernelTimes& times, const std::vector<Operator>& operators) {
  std::vector<std::string> names{"dense", "dense_wgrad", "grouped", "grouped_wgrad"};
  for (const Operator& op : operators) names.push_back(op.name);
  const bool known = std::find(names.begin(), names.end(), times.kernel) != names.end();
  core::fail_input(
      "{}: no operator of the job takes the times of '{}' with n {:g}, k {:g}, groups {:g}{}; --dump workload prints "
      "names and shapes",
      times.where, times.kernel, times.n, times.k, times.groups, known ? "" : core::suggestion(times.kernel, names));
}

void add_point(KernelTimes& times, double rows, double seconds, const std::string& where) {
  const auto at = std::lower_bound(times.rows.begin(), times.rows.end(), rows);
  if (at != times.rows.end() && *at == rows) {
    core::fail_input("{}: {:g} rows of '{}' were given before", where, rows, times.kernel);
  }
  times.seconds.insert(times.seconds.begin() + (at - times.rows.begin()), seconds);
  times.rows.insert(at, rows);
}

}  // namespace

std::vector<KernelTimes> parse_kernel_times(const std::string& text, const std::string& name) {
  std::vector<KernelTimes> result;
  std::istringstream lines(text);
  std::string line;
  bool header = true;
  for (int number_of_line = 1; std::getline(lines, line); ++number_of_line) {
    const std::string content = trimmed(line);
    if (content.empty() || content.front() == '#') continue;
    const std::string where = name + ":" + std::to_string(number_of_line);
    const std::vector<std::string> row = cells(content);
    if (std::exchange(header, false)) {
      check_header(row, where);
      continue;
    }
    if (row.size() != kColumns.size()) {
      core::fail_input("{}: found {} columns, expected {}", where, row.size(), kColumns.size());
    }
    KernelTimes times{
        row[0], number(row[1], where, "n"), number(row[2], where, "k"), number(row[3], where, "groups"), {}, {}, where};
    const double rows = number(row[4], where, "rows");
    const double us = number(row[5], where, "us");
    if (times.kernel.empty() || rows <= 0 || us <= 0)
      core::fail_input("{}: expected a kernel, rows > 0 and us > 0", where);
    auto found = std::find_if(result.begin(), result.end(), [&times](const KernelTimes& other) {
      return other.kernel == times.kernel && other.n == times.n && other.k == times.k && other.groups == times.groups;
    });
    if (found == result.end()) found = result.insert(result.end(), std::move(times));
    add_point(*found, rows, us * 1e-6, where);
  }
  if (result.empty()) core::fail_input("{}: no kernel times in it", name);
  return result;
}

std::vector<KernelTimes> load_kernel_times(const std::string& path) {
  return parse_kernel_times(std::string(io::FileBytes::open(path)->text()), path);
}

void check_kernel_times(const std::vector<KernelTimes>& given, const std::vector<Operator>& operators) {
  std::map<const KernelTimes*, Shape> taken;
  for (const Operator& op : operators) {
    const KernelTimes* times = find_times(given, op);
    if (times == nullptr) continue;
    const Shape shape = shape_of(op);
    const auto [other, first] = taken.try_emplace(times, shape);
    if (first || other->second == shape) continue;
    core::fail_input(
        "{}: '{}' is the name of operators with n {:g}, k {:g}, groups {:g} and with n {:g}, k {:g}, groups {:g}: "
        "expected the numbers of one of them",
        times->where, times->kernel, other->second.n, other->second.k, other->second.groups, shape.n, shape.k,
        shape.groups);
  }
  for (const KernelTimes& times : given) {
    if (!taken.contains(&times)) fail_unused(times, operators);
  }
}

std::optional<Timed> given_time(const std::vector<KernelTimes>& given, const Operator& op) {
  const KernelTimes* times = find_times(given, op);
  if (times == nullptr) return std::nullopt;
  const double rows = rows_of(op);
  if (rows < times->rows.front()) {
    return Timed{times->seconds.front() * rows / times->rows.front(), Provenance::kExtrapolated};
  }
  return interpolate(times->rows, times->seconds, rows, 1);
}

}  // namespace lastbit::sim::cost

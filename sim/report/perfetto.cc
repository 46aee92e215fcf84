#include "sim/report/perfetto.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace lastbit::sim::report {
namespace {

constexpr std::size_t kFlushBytes = 1 << 20;
constexpr double kMostSeconds = 9.2e9;  // 2^63 ns

// Microseconds, the format's unit, with three decimals.
std::string micros(std::int64_t ns) { return fmt::format("{}.{:03}", ns / 1000, ns % 1000); }

std::string quoted(std::string_view text) {
  const bool plain =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
  if (plain) return fmt::format("\"{}\"", text);
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace

// Start and end are rounded each by itself, so that spans that touch still touch.
std::int64_t trace_ns(SimTime time) {
  if (!(time.s >= 0 && time.s < kMostSeconds))
    core::fail_input("trace: found a time of {} s, expected one from 0 to {} s", time.s, kMostSeconds);
  return std::llround(time.s * 1e9);
}

std::unique_ptr<Trace> open_trace(const std::string& path) {
  if (path.ends_with(".pftrace")) return std::make_unique<PerfettoTrace>(path);
  if (path.ends_with(".json")) return std::make_unique<ChromeTrace>(path);
  core::fail_input("{}: a trace is .json (Chrome's format) or .pftrace (Perfetto's)", path);
}

ChromeTrace::ChromeTrace(const std::string& path) : file_(path) {
  buffer_ = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
}

void ChromeTrace::begin_event() {
  if (buffer_.size() > kFlushBytes) flush();
  buffer_ += first_ ? "\n" : ",\n";
  first_ = false;
}

void ChromeTrace::flush() {
  file_.write(buffer_);
  buffer_.clear();
}

void ChromeTrace::name_process(int process, std::string_view name) {
  begin_event();
  fmt::format_to(std::back_inserter(buffer_), R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":{}}}}})",
                 process, quoted(name));
  begin_event();
  fmt::format_to(std::back_inserter(buffer_),
                 R"({{"ph":"M","pid":{0},"name":"process_sort_index","args":{{"sort_index":{0}}}}})", process);
}

void ChromeTrace::name_thread(int process, int thread, std::string_view name) {
  begin_event();
  fmt::format_to(std::back_inserter(buffer_),
                 R"({{"ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":{}}}}})", process, thread,
                 quoted(name));
  begin_event();
  fmt::format_to(std::back_inserter(buffer_),
                 R"({{"ph":"M","pid":{0},"tid":{1},"name":"thread_sort_index","args":{{"sort_index":{1}}}}})", process,
                 thread);
}

void ChromeTrace::span(int process, int thread, std::string_view name, std::string_view category, SimTime start,
                       SimTime end) {
  const std::int64_t start_ns = trace_ns(start);
  const std::int64_t end_ns = trace_ns(end);
  core::check(end_ns >= start_ns, "a span ends after it starts");
  begin_event();
  fmt::format_to(std::back_inserter(buffer_), R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"name":{},"cat":{}}})",
                 process, thread, micros(start_ns), micros(end_ns - start_ns), quoted(name), quoted(category));
}

void ChromeTrace::counter(int process, std::string_view name, SimTime at, std::int64_t value) {
  begin_event();
  fmt::format_to(std::back_inserter(buffer_), R"({{"ph":"C","pid":{},"ts":{},"name":{},"args":{{"value":{}}}}})",
                 process, micros(trace_ns(at)), quoted(name), value);
}

void ChromeTrace::finish() {
  buffer_ += "\n]}\n";
  flush();
  file_.commit();
}

}  // namespace lastbit::sim::report

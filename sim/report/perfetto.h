// Timelines as files that ui.perfetto.dev opens by drag and drop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "io/atomic_file.h"
#include "sim/engine/sim_time.h"

namespace lastbit::sim::report {

// Events on their way to a file, which appears when finish() returns. A process is a group of tracks, a thread one
// track; the spans of a track must not overlap. Times are kept to 1 ns and lie below 292 years, else Error(kInput).
class Trace {
 public:
  virtual ~Trace() = default;
  virtual void name_process(int process, std::string_view name) = 0;
  // Tracks are shown in order of their numbers.
  virtual void name_thread(int process, int thread, std::string_view name) = 0;
  virtual void span(int process, int thread, std::string_view name, std::string_view category, SimTime start,
                    SimTime end) = 0;
  // From `at` on, the process's counter has this value.
  virtual void counter(int process, std::string_view name, SimTime at, std::int64_t value) = 0;
  virtual void finish() = 0;
};

// Format: "Trace Event Format" (Chromium), events M, X and C.
class ChromeTrace : public Trace {
 public:
  explicit ChromeTrace(const std::string& path);

  void name_process(int process, std::string_view name) override;
  void name_thread(int process, int thread, std::string_view name) override;
  void span(int process, int thread, std::string_view name, std::string_view category, SimTime start,
            SimTime end) override;
  void counter(int process, std::string_view name, SimTime at, std::int64_t value) override;
  void finish() override;

 private:
  void begin_event();
  void flush();

  io::AtomicFile file_;
  std::string buffer_;
  bool first_ = true;
};

// The same as Perfetto's protobuf, a fifth of the bytes: for thousands of tracks. Format: perfetto.protos.Trace
// (perfetto/trace/trace.proto): track descriptors, slices with interned names, counters.
class PerfettoTrace : public Trace {
 public:
  explicit PerfettoTrace(const std::string& path);

  void name_process(int process, std::string_view name) override;
  void name_thread(int process, int thread, std::string_view name) override;
  void span(int process, int thread, std::string_view name, std::string_view category, SimTime start,
            SimTime end) override;
  void counter(int process, std::string_view name, SimTime at, std::int64_t value) override;
  void finish() override;

 private:
  // The name's number; a new one is put into `interned` for the packet that first uses it.
  std::uint64_t intern(std::string_view text, int field, std::unordered_map<std::string, std::uint64_t>& ids,
                       std::string& interned);
  void packet(std::string_view content);

  io::AtomicFile file_;
  std::string buffer_;
  std::unordered_map<std::string, std::uint64_t> names_;
  std::unordered_map<std::string, std::uint64_t> categories_;
  std::unordered_map<std::string, std::uint64_t> counters_;  // by process and name
  bool first_ = true;
};

// By the extension: ".pftrace" is protobuf, ".json" Chrome's. Error(kInput): any other.
[[nodiscard]] std::unique_ptr<Trace> open_trace(const std::string& path);

// A time in ns, checked as above.
[[nodiscard]] std::int64_t trace_ns(SimTime time);

}  // namespace lastbit::sim::report

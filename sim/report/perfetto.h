// Timelines as Chrome trace JSON, which ui.perfetto.dev opens by drag and drop.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/atomic_file.h"
#include "sim/engine/sim_time.h"

namespace lastbit::sim::report {

// Writes events to disk as they come; the file appears when finish() returns. A process is a group of tracks, a
// thread one track; the spans of a track must not overlap. Times are kept to 1 ns and lie below 292 years, else
// Error(kInput). Format: "Trace Event Format" (Chromium), events M, X and C.
class ChromeTrace {
 public:
  explicit ChromeTrace(const std::string& path);

  void name_process(int process, std::string_view name);
  // Tracks are shown in order of their numbers.
  void name_thread(int process, int thread, std::string_view name);
  void span(int process, int thread, std::string_view name, std::string_view category, SimTime start, SimTime end);
  // From `at` on, the process's counter has this value.
  void counter(int process, std::string_view name, SimTime at, std::int64_t value);
  void finish();

 private:
  void begin_event();
  void flush();

  io::AtomicFile file_;
  std::string buffer_;
  bool first_ = true;
};

}  // namespace lastbit::sim::report

#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <utility>

namespace lastbit::cli {

Progress::Progress(std::string what, std::string unit)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

void Progress::show(double done, double all) {
  constexpr std::chrono::milliseconds kBetween{200};
  const Clock::time_point now = Clock::now();
  if (!terminal_ || now - last_ < kBetween) return;
  last_ = now;
  shown_ = true;
  const double passed = std::chrono::duration<double>(now - start_).count();
  const std::string left = done > 0 ? fmt::format(", {:.0f} s left", passed * (all - done) / done) : "";
  std::cerr << fmt::format("\r\033[K{} {:.0f} of {:.0f} {}{}", what_, done, all, unit_, left) << std::flush;
}

void Progress::finish() {
  if (shown_) std::cerr << "\r\033[K" << std::flush;
  shown_ = false;
}

}  // namespace lastbit::cli

// One line of progress with the time that is left, on stderr, where that is a terminal.
#pragma once

#include <chrono>
#include <string>

namespace lastbit::cli {

class Progress {
 public:
  // "counting 12 of 70 MB, 3 s left"
  Progress(std::string what, std::string unit);

  // Shows how far the work is, at most five times a second. all > 0.
  void show(double done, double all);
  // Clears the line.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::string unit_;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_;
  Clock::time_point last_;
};

}  // namespace lastbit::cli

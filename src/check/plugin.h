// Kernels in shared libraries (kernel_plugin.h), each call in a process of its own, so that a crash, a hang and a write
// outside an output are findings.
#pragma once

#include <string>

#include "check/implementation.h"

namespace lastbit::check {

struct PluginOptions {
  std::string library;  // path of the shared library
  std::string symbol = "lastbit_kernel";
  // The program that loads it: one whose first arguments `check run-plugin FD` reach run_plugin_child(). lastbit is
  // one.
  std::string runner = "/proc/self/exe";
  double time_limit_s = 60;  // of one call with both of its runs
  int runs = 2;
};

// Runs the function twice on the same inputs, the outputs filled with another pattern each time. Errors: a library that
// is not there or cannot be loaded, and a symbol that it does not have, are bad input; what the system refuses is an
// I/O error.
[[nodiscard]] Implementation plugin_implementation(const PluginOptions& options);

// The other side: loads and calls what the memory behind `descriptor` describes; the process's exit code.
[[nodiscard]] int run_plugin_child(int descriptor);

}  // namespace lastbit::check

// Runs the program `lastbit` as a user would.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include "support/shared.h"

namespace lastbit::testing {

struct CliResult {
  int exit_code = -1;
  std::string out;  // stdout
  std::string err;  // stderr
};

// Runs `lastbit` with `args` and waits for it. `out_path`: where stdout goes instead of CliResult::out.
CliResult run_cli(const std::vector<std::string>& args, const std::string& out_path = {});

// The path of the program.
std::string program();

// The program running, for tests that send it signals.
class CliProcess {
 public:
  explicit CliProcess(const std::vector<std::string>& args, const std::string& out_path = {});
  ~CliProcess();  // kills it if it still runs
  CliProcess(const CliProcess&) = delete;
  CliProcess& operator=(const CliProcess&) = delete;

  void send(int signal) const;
  // From now on it may have so much memory of its own (mapped files do not count).
  void limit_data(std::size_t bytes) const;
  [[nodiscard]] bool running();
  CliResult wait();  // once

 private:
  TempDir capture_;
  std::string out_;
  bool keeps_out_;
  pid_t child_ = 0;
  int status_ = 0;
};

// Expects exit code `code` and exactly one line on stderr, which contains each of `parts`.
void expect_one_line_error(const CliResult& result, int code, const std::vector<std::string>& parts);

}  // namespace lastbit::testing

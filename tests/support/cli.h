// Runs the program `lastbit` as a user would.
#pragma once

#include <string>
#include <vector>

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

// Expects exit code `code` and exactly one line on stderr, which contains each of `parts`.
void expect_one_line_error(const CliResult& result, int code, const std::vector<std::string>& parts);

}  // namespace lastbit::testing

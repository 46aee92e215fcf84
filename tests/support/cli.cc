#include "support/cli.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

extern char** environ;

namespace lastbit::testing {
namespace {

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

CliProcess::CliProcess(const std::vector<std::string>& args, const std::string& out_path)
    : out_(out_path.empty() ? capture_.file("out") : out_path), keeps_out_(!out_path.empty()) {
  const std::string err = capture_.file("err");
  std::vector<std::string> words{LASTBIT_PROGRAM};
  words.insert(words.end(), args.begin(), args.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out_.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT, 0600);
  const int failed = posix_spawn(&child_, LASTBIT_PROGRAM, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(failed, 0) << "cannot start " << LASTBIT_PROGRAM;
  if (failed != 0) child_ = 0;
}

CliProcess::~CliProcess() {
  if (!running()) return;
  send(SIGKILL);
  waitpid(child_, &status_, 0);
}

void CliProcess::send(int signal) const {
  if (child_ != 0) kill(child_, signal);
}

void CliProcess::limit_data(std::size_t bytes) const {
  const rlimit limit{bytes, bytes};
  EXPECT_EQ(prlimit(child_, RLIMIT_DATA, &limit, nullptr), 0);
}

bool CliProcess::running() {
  if (child_ != 0 && waitpid(child_, &status_, WNOHANG) == child_) child_ = 0;
  return child_ != 0;
}

CliResult CliProcess::wait() {
  if (child_ != 0) waitpid(child_, &status_, 0);
  child_ = 0;
  return {WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_),
          keeps_out_ ? std::string() : read_text(out_), read_text(capture_.file("err"))};
}

CliResult run_cli(const std::vector<std::string>& args, const std::string& out_path) {
  return CliProcess(args, out_path).wait();
}

std::string program() { return LASTBIT_PROGRAM; }

void expect_one_line_error(const CliResult& result, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(result.exit_code, code) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  for (const std::string& part : parts)
    EXPECT_NE(result.err.find(part), std::string::npos) << part << " in " << result.err;
}

}  // namespace lastbit::testing

#include <gtest/gtest.h>

#include <filesystem>

#include "support/cli.h"

namespace lastbit {
namespace {

using testing::expect_one_line_error;
using testing::run_cli;

TEST(CommandLine, UnknownSubcommandGetsASuggestion) {
  expect_one_line_error(run_cli({"chek"}), 2, {"unknown subcommand 'chek' (did you mean 'check'?)"});
  expect_one_line_error(run_cli({"zzzzzzzz"}), 2, {"unknown subcommand 'zzzzzzzz'; see lastbit --help"});
  expect_one_line_error(run_cli({"chek", "--reference", "a.npy"}), 2, {"unknown subcommand 'chek'"});
}

TEST(CommandLine, UnknownOptionGetsASuggestion) {
  expect_one_line_error(run_cli({"check", "--refrence", "x"}), 2,
                        {"unknown option '--refrence' (did you mean '--reference'?)", "lastbit check --help"});
  expect_one_line_error(run_cli({"check", "--tolerence=ulp=1"}), 2, {"'--tolerance'"});
  expect_one_line_error(run_cli({"--thread", "3", "doctor"}), 2, {"'--threads'"});
}

TEST(CommandLine, GlobalOptionsGoBeforeTheSubcommand) {
  expect_one_line_error(run_cli({"presets", "--threads", "2"}), 2,
                        {"option '--threads' goes before the subcommand: lastbit --threads"});
}

TEST(CommandLine, SubcommandIsRequired) { expect_one_line_error(run_cli({}), 2, {"subcommand is required"}); }

TEST(CommandLine, ValuesAreChecked) {
  expect_one_line_error(run_cli({"--threads", "-1", "doctor"}), 2, {"--threads"});
  expect_one_line_error(run_cli({"--threads", "many", "doctor"}), 2, {"--threads"});
  expect_one_line_error(run_cli({"check", "--reference"}), 2, {"--reference"});
  expect_one_line_error(run_cli({"init", "tiny", "--seed", "-1", "--out", "x"}), 2, {"--seed", "-1"});
}

TEST(CommandLine, AResultThatCannotBeWrittenIsAnError) {
  // The device that refuses every write is Linux's; elsewhere there is nothing to write to.
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "needs /dev/full";
  expect_one_line_error(testing::run_cli({"presets"}, "/dev/full"), 3, {"stdout"});
}

TEST(CommandLine, HelpAndVersionSucceed) {
  EXPECT_EQ(run_cli({"--help"}).exit_code, 0);
  EXPECT_EQ(run_cli({"check", "--help"}).exit_code, 0);
  EXPECT_EQ(run_cli({"--version"}).out.substr(0, 8), "lastbit ");
}

}  // namespace
}  // namespace lastbit

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "io/json.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using testing::expect_one_line_error;
using testing::run_cli;

// With the checkpoint that comes with Lastbit.
TEST(EvalCommand, TheEmbeddedCheckpointBeatsGzipOnCode) {
  const testing::TempDir folder;
  const std::string path = folder.file("text.txt");
  std::string text;
  for (const std::string name : {"red", "green", "blue", "black", "white", "brown"})
    text += "def " + name +
            "(self, value):\n    \"\"\"Return the value of the argument.\"\"\"\n    if value is None:\n" +
            "        return self." + name + "\n    return value\n\n";
  io::write_text_file(path, text);
  const testing::CliResult result = run_cli({"eval", "text", "--in", path, "--sequence-tokens", "128", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json score = io::parse_json(result.out, "score");
  EXPECT_LT(score["bits_per_byte"], 3);
  EXPECT_GT(score["gzip_9_bits_per_byte"], 0);
}

TEST(EvalCommand, GeneratesTheSameTextForTheSameSeed) {
  const std::vector<std::string> words{"generate", "--prompt", "import pandas as", "--max-tokens", "12", "--json"};
  const testing::CliResult first = run_cli(words);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(run_cli(words).out, first.out);
  std::vector<std::string> others = words;
  others.insert(others.end(), {"--seed", "2"});
  EXPECT_NE(run_cli(others).out, first.out);
}

TEST(EvalCommand, RefusesWithOneLine) {
  expect_one_line_error(run_cli({"eval", "text"}), 2, {"neither --config and --in"});
  expect_one_line_error(run_cli({"eval", "tasks", "none.jsonl"}), 2, {"none.jsonl"});
  expect_one_line_error(run_cli({"eval", "pass-at-k", "--samples", "2", "--passed", "3"}), 2, {"3 of 2"});
  expect_one_line_error(run_cli({"generate", "--prompt", ""}), 2, {"empty prompt"});
  expect_one_line_error(run_cli({"generate", "--prompt", "a", "--checkpoint", "nowhere"}), 2, {"nowhere"});
  expect_one_line_error(run_cli({"study", "train", "fp9"}), 2, {"fp9", "did you mean 'fp8'"});
}

}  // namespace
}  // namespace lastbit

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "io/json.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using testing::CliResult;
using testing::expect_one_line_error;
using testing::run_cli;

class TokenizerCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    io::write_text_file(file("docs.jsonl"),
                        "{\"text\":\"the quick brown the quick\",\"id\":1}\n{\"text\":\"中文 the\"}\n");
    const CliResult made = run_cli({"tokenizer", "train", "--in", file("docs.jsonl"), "--out", file("t.json"),
                                    "--vocab-size", "280", "--special", "<s>"});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  [[nodiscard]] std::string file(const std::string& name) const { return folder_.file(name); }
  CliResult convert(const std::string& what, const std::string& in, const std::string& out,
                    std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"tokenizer", what, "--tokenizer", file("t.json"), "--in", file(in), "--out", file(out)});
    return run_cli(more);
  }

  testing::TempDir folder_;
};

TEST_F(TokenizerCommand, EncodesAndDecodes) {
  const CliResult encoded = convert("encode", "docs.jsonl", "ids.jsonl");
  ASSERT_EQ(encoded.exit_code, 0) << encoded.err;
  EXPECT_EQ(testing::read_file(file("ids.jsonl")).find("{\"ids\":["), 0U);
  ASSERT_EQ(convert("decode", "ids.jsonl", "back.jsonl").exit_code, 0);
  EXPECT_EQ(testing::read_file(file("back.jsonl")), testing::read_file(file("docs.jsonl")));
}

TEST_F(TokenizerCommand, InvalidBytesAreKeptOrReplaced) {
  io::write_text_file(file("raw.txt"), "a<s>\xff\xfe");
  ASSERT_EQ(convert("encode", "raw.txt", "ids.jsonl").exit_code, 0);
  ASSERT_EQ(convert("decode", "ids.jsonl", "back.jsonl").exit_code, 0);
  EXPECT_EQ(testing::read_file(file("back.jsonl")), "{\"text\":\"a<s>\xff\xfe\"}\n");
  ASSERT_EQ(convert("decode", "ids.jsonl", "back.jsonl", {"--invalid", "replace", "--skip-special"}).exit_code, 0);
  EXPECT_EQ(testing::read_file(file("back.jsonl")), "{\"text\":\"a\xef\xbf\xbd\xef\xbf\xbd\"}\n");
  ASSERT_EQ(convert("encode", "raw.txt", "ids.jsonl", {"--invalid", "replace"}).exit_code, 0);
  ASSERT_EQ(convert("decode", "ids.jsonl", "back.jsonl").exit_code, 0);
  EXPECT_EQ(testing::read_file(file("back.jsonl")), "{\"text\":\"a<s>\xef\xbf\xbd\xef\xbf\xbd\"}\n");
}

TEST_F(TokenizerCommand, Counts) {
  const CliResult result =
      run_cli({"tokenizer", "stats", "--tokenizer", file("t.json"), "--in", file("docs.jsonl"), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json stats = io::parse_json(result.out, "stats");
  EXPECT_EQ(stats["documents"], 2);
  EXPECT_EQ(stats["bytes"], 25 + 10);
  EXPECT_EQ(stats["code_points"], 25 + 6);
  EXPECT_GT(stats["bytes_per_token"].get<double>(), 1.5);
}

TEST_F(TokenizerCommand, RefusesWithOneLine) {
  io::write_text_file(file("bad.jsonl"), "{\"text\":\"x\"}\n{\"text\":5}\n");
  expect_one_line_error(convert("encode", "bad.jsonl", "ids.jsonl"), 2, {"bad.jsonl:2", "'text'"});
  EXPECT_FALSE(std::filesystem::exists(file("ids.jsonl")));
  io::write_text_file(file("bad.jsonl"), "{\"ids\":[1,99999]}\n");
  expect_one_line_error(convert("decode", "bad.jsonl", "back.jsonl"), 2, {"bad.jsonl:1", "99999"});
  io::write_text_file(file("bad.jsonl"), "{\"ids\":[1,-2]}\n");
  expect_one_line_error(convert("decode", "bad.jsonl", "back.jsonl"), 2, {"ids[1]", "-2"});
  EXPECT_FALSE(std::filesystem::exists(file("back.jsonl")));
  expect_one_line_error(convert("encode", "docs.jsonl", "ids.jsonl", {"--invalid", "skip"}), 2, {"--invalid"});
  expect_one_line_error(
      run_cli({"tokenizer", "train", "--in", file("docs.jsonl"), "--out", file("u.json"), "--vocab-size", "100"}), 2,
      {"a vocabulary of 100"});
  expect_one_line_error(run_cli({"tokenizer", "train", "--in", file("docs.jsonl"), "--out", file("u.json")}), 2,
                        {"--vocab-size", "--preset"});
  io::write_text_file(file("t.json"), "{");
  expect_one_line_error(convert("encode", "docs.jsonl", "ids.jsonl"), 2, {"t.json"});
}

}  // namespace
}  // namespace lastbit

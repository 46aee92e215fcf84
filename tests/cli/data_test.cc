#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "io/json.h"
#include "support/cli.h"
#include "support/shared.h"

namespace lastbit {
namespace {

using testing::expect_one_line_error;
using testing::run_cli;

class DataCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    io::write_text_file(file("docs.jsonl"),
                        "{\"text\":\"first document\"}\n{\"text\":\"second one\"}\n{\"text\":\"second one\"}\n");
    io::write_text_file(file("p.toml"),
                        "output = \"out\"\n[input]\nfiles = [\"docs.jsonl\"]\n[pack]\nwindow_tokens = 16\n");
  }
  [[nodiscard]] std::string file(const std::string& name) const { return folder_.file(name); }

  testing::TempDir folder_;
};

TEST_F(DataCommand, PreparesWithTheEmbeddedVocabularyAndChecks) {
  const testing::CliResult made = run_cli({"data", "prepare", file("p.toml"), "--json"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(made.err, "");
  const nlohmann::json index = io::parse_json(made.out, "index");
  EXPECT_EQ(index["statistics"]["kept_documents"], 2);
  EXPECT_EQ(index["statistics"]["dropped"]["exact_duplicate"], 1);
  EXPECT_EQ(index, io::load_json(file("out/index.json")));
  EXPECT_EQ(run_cli({"data", "check", file("out")}).exit_code, 0);
  EXPECT_NE(run_cli({"data", "prepare", file("p.toml")}).out.find("exact_duplicate"), std::string::npos);
  std::filesystem::resize_file(file("out/shard-00000.h5"), 100);
  expect_one_line_error(run_cli({"data", "check", file("out")}), 2, {"shard-00000.h5", "100 bytes"});
}

TEST_F(DataCommand, RefusesWithOneLine) {
  expect_one_line_error(run_cli({"data", "prepare", file("none.toml")}), 2, {"none.toml"});
  expect_one_line_error(run_cli({"data", "check", file("none")}), 2, {"none/index.json"});
  io::write_text_file(file("p.toml"), "output = \"out\"\n[input]\nfile = [\"docs.jsonl\"]\n");
  expect_one_line_error(run_cli({"data", "prepare", file("p.toml")}), 2, {"p.toml", "input.files"});
  EXPECT_FALSE(std::filesystem::exists(file("out")));
}

}  // namespace
}  // namespace lastbit

#include "corpus/json_lines.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "support/shared.h"

namespace lastbit::corpus {
namespace {

void expect_refused(const std::string& line, const std::string& part) {
  try {
    (void)parse_json_line(line, "text", "x.jsonl:3");
    FAIL() << "accepted " << line;
  } catch (const core::Error& error) {
    EXPECT_EQ(error.kind(), core::ErrorKind::kInput);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("x.jsonl:3"), 0U);
  }
}

TEST(JsonLines, BytesSurvive) {
  const JsonLine line = parse_json_line("{\"id\":7,\"text\":\"a\\n\xff\xe4\xbd z\"}", "text", "x");
  EXPECT_EQ(line.text, "a\n\xff\xe4\xbd z");
  EXPECT_EQ(json_line(line.rest, "text", json_string(line.text)), "{\"text\":\"a\\n\xff\xe4\xbd z\",\"id\":7}\n");
  EXPECT_EQ(parse_json_line(R"({"text":"\ud83d\ude00\udbff\udfff"})", "text", "x").text, "😀\U0010ffff");
  EXPECT_EQ(json_string(std::string_view("\0\"\\\t\x1f", 5)), R"("\u0000\"\\\t\u001f")");
}

TEST(JsonLines, RefusesWhatIsNoDocument) {
  expect_refused("[1]", "expected an object");
  expect_refused("{\"text\":1}", "'text' is number");
  expect_refused("{\"body\":\"x\"}", "no 'text'");
  expect_refused("{\"text\":\"x\"", "x.jsonl:3");
  expect_refused("{\"text\":\"x\",\"text\":\"y\"}", "twice");
  expect_refused("{\"id\":\"\xff\",\"text\":\"y\"}", "outside of 'text'");
  expect_refused("{\"text\":\"\xff\U0010f0ff\"}", "U+10F000");
  expect_refused("{\"text\":\"\\ud800\"}", "x.jsonl:3");
  expect_refused("{\"text\":\"a\",\"x\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}",
                 "nested deeper");
  EXPECT_EQ(parse_json_line("{\"text\":\"" + std::string(1000, '[') + "\\\"\"}", "text", "x").text.size(), 1001U);
}

TEST(JsonLines, StringsOfFieldsComeInOnePass) {
  const std::vector<std::string> fields{"text", "language"};
  using Strings = std::vector<std::string>;
  EXPECT_EQ(parse_json_strings("{\"language\":\"en\",\"x\":{\"text\":1},\"text\":\"a\xff\"}", fields, "x"),
            (Strings{"a\xff", "en"}));
  EXPECT_EQ(parse_json_strings(R"({"language":["de"],"text":"a"})", fields, "x"), (Strings{"a", ""}));
  for (const std::string line : {"{\"language\":\"en\"}", "{\"text\":1}", "[\"text\"]", "\"text\"", "{\"text\":\"a\"",
                                 "{\"text\":\"a\",\"text\":\"b\"}", ""})
    EXPECT_THROW((void)parse_json_strings(line, fields, "x"), core::Error) << line;
}

TEST(JsonLines, BlocksHaveWholeLines) {
  const testing::TempDir folder;
  io::write_text_file(folder.file("x.jsonl"), "one\n\n  \ntwo\r\nthree");
  LineBlocks blocks(folder.file("x.jsonl"));
  const auto first = blocks.next(1);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].text, "one");
  const auto rest = blocks.next(1000);
  ASSERT_EQ(rest.size(), 2U);
  EXPECT_EQ(rest[0].number, 4);
  EXPECT_EQ(rest[1].text, "three");
  EXPECT_TRUE(blocks.next(1000).empty());
}

}  // namespace
}  // namespace lastbit::corpus
